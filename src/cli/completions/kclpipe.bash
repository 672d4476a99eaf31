# Completes kclpipe in bash: what may come is kclpipe's to say.

_kclpipe() {
    local word words=() lines line text current kept before

    # bash also splits at = and @, which kclpipe does not.
    for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
        if ((${#words[@]} > 0)) && [[ $word == =* || ${words[-1]} == *= || ${words[-1]} == @ ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
    done
    current=${words[-1]}
    kept=${current%"$2"}

    mapfile -t lines < <("$1" complete -- "${words[@]}" 2>/dev/null)
    case ${lines[0]-} in
        words)
            compopt +o default 2>/dev/null
            for line in "${lines[@]:1}"; do
                text=${line%%$'\t'*}
                COMPREPLY+=("${text#"$kept"}")
            done
            ;;
        files*)
            # Where bash replaces the whole word, it does not know what comes before the name.
            before=${lines[0]#files }
            if [[ -n $before && -z $kept ]]; then
                mapfile -t COMPREPLY < <(compgen -P "$before" -f -- "${current#"$before"}")
                if ((${#COMPREPLY[@]} == 1)) && [[ -d ${COMPREPLY[0]#"$before"} ]]; then
                    compopt -o nospace 2>/dev/null
                    COMPREPLY[0]+=/
                fi
            fi
            ;;
        directories*)
            compopt +o default -o dirnames 2>/dev/null
            ;;
        program)
            [[ $2 == */* ]] || mapfile -t COMPREPLY < <(compgen -c -- "$2")
            ;;
        nothing)
            compopt +o default 2>/dev/null
            ;;
    esac
}

complete -o default -F _kclpipe kclpipe
