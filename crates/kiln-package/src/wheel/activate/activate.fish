# Makes the environment at @PREFIX@ the one that this shell uses.
# For fish: source @PREFIX@/bin/activate.fish
# To leave it again: deactivate

function deactivate --description 'Leave the Python environment'
    if set --query _OLD_VIRTUAL_PATH
        set --global --export PATH $_OLD_VIRTUAL_PATH
        set --erase _OLD_VIRTUAL_PATH
    end
    if set --query _OLD_VIRTUAL_PYTHONHOME
        set --global --export PYTHONHOME $_OLD_VIRTUAL_PYTHONHOME
        set --erase _OLD_VIRTUAL_PYTHONHOME
    end
    if functions --query _old_virtual_prompt
        functions --erase fish_prompt
        functions --copy _old_virtual_prompt fish_prompt
        functions --erase _old_virtual_prompt
    end
    set --erase VIRTUAL_ENV
    set --erase VIRTUAL_ENV_PROMPT
    if test "$argv[1]" != nondestructive
        functions --erase deactivate
    end
end

# Leave another environment first.
deactivate nondestructive

set --global --export VIRTUAL_ENV @PREFIX@
set --global --export VIRTUAL_ENV_PROMPT @NAME@

set --global _OLD_VIRTUAL_PATH $PATH
set --global --export PATH $VIRTUAL_ENV/bin $PATH

if set --query PYTHONHOME
    set --global _OLD_VIRTUAL_PYTHONHOME $PYTHONHOME
    set --erase PYTHONHOME
end

if test -z "$VIRTUAL_ENV_DISABLE_PROMPT"; and functions --query fish_prompt
    functions --copy fish_prompt _old_virtual_prompt
    function fish_prompt
        # The old prompt may show the status of the last command.
        set --local last $status
        printf '(%s) ' $VIRTUAL_ENV_PROMPT
        test $last -eq 0; or sh -c "exit $last"
        _old_virtual_prompt
    end
end
