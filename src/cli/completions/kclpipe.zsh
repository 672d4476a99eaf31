#compdef kclpipe
# Completes kclpipe in zsh: what may come is kclpipe's to say.

_kclpipe() {
    local -a lines described
    local line before

    lines=("${(@f)$(${~words[1]} complete -- "${(@Q)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")
    case $lines[1] in
        words)
            for line in $lines[2,-1]; do
                described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
            done
            _describe -V kclpipe described
            ;;
        files*)
            before=${lines[1]#files }
            [[ -z $before ]] || compset -P "${(b)before}"
            _files
            ;;
        directories*)
            before=${lines[1]#directories }
            [[ -z $before ]] || compset -P "${(b)before}"
            _files -/
            ;;
        program)
            _alternative 'commands:command:_path_commands' 'files:file:_files'
            ;;
        *)
            return 1
            ;;
    esac
}

if [[ $funcstack[1] == _kclpipe ]]; then
    _kclpipe "$@"
else
    compdef _kclpipe kclpipe
fi
