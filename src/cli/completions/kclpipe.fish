# Completes kclpipe in fish: what may come is kclpipe's to say.

function __kclpipe
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines ($words[1] complete -- $words[2..-1] "$current" 2>/dev/null)
    switch "$lines[1]"
        case words
            printf '%s\n' $lines[2..-1]
        case 'files*' 'directories*'
            set -l before (string split -m 1 ' ' -- $lines[1])[2]
            set -l name (string replace -- "$before" '' "$current")
            for path in (complete -C "'' $name")
                echo "$before$path"
            end
        case program
            complete -C "$current"
    end
end

complete -c kclpipe -f -a '(__kclpipe)'
