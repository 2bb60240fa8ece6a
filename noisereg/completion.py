"""`noisereg completion`: what bash completes the commands by."""

from collections.abc import Sequence

from noisereg.parsers import completion_parser

# Choices are compared and never handed to `compgen -W`, which would run what stands in them as `$(...)`: the values of
# a configuration are among them. One with a sign that means something to the shell is left out, as it would be typed.
_BASH = r"""
_noisereg() {
    local line=${COMP_LINE:0:COMP_POINT} command=${COMP_WORDS[1]} training=$1-train choices choice
    local word=${line##*[[:space:]]}
    local before=${word%"$2"}  # a word of the shell ends at = and :
    if [[ $1 == *-train ]]; then
        command=train training=$1
    elif ((COMP_CWORD == 1)); then
        command=
    else
        line=${line#*[[:space:]]"$command"}
        line=$training$line
    fi
    case $command in
    "") choices=$("$1" --help 2>/dev/null | grep -oE '^  [a-z]+') ;;
    train)
        choices=$(COMP_LINE=$line "$training" --shell-completion query=bash 2>/dev/null)
        compopt -o nospace 2>/dev/null
        ;;
    *) [[ $word == -* ]] && choices=$("$1" "$command" --help 2>/dev/null | grep -oE -e '--[a-z]+') ;;
    esac
    COMPREPLY=()
    for choice in $(tr ' ' '\n' <<<"$choices" | grep -xE '[[:alnum:]_.,/=+:@%-]+' | sort -u); do
        [[ $word == *=* && $choice == *= ]] && continue  # the places of a list, which take no value so
        [[ $choice == "$word"* ]] && COMPREPLY+=("${choice#"$before"}")
    done
}
complete -o default -F _noisereg noisereg noisereg-train
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what bash completes the commands by."""
    completion_parser().parse_args(arguments)
    print(_BASH.strip())
    return 0
