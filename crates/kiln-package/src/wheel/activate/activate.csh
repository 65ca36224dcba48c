# Makes the environment at @PREFIX@ the one that this shell uses.
# For csh and tcsh: source @PREFIX@/bin/activate.csh
# To leave it again: deactivate

# Leave another environment first.
if ($?_OLD_VIRTUAL_PATH) then
    deactivate
endif

set _OLD_VIRTUAL_PATH = "$PATH"
setenv VIRTUAL_ENV @PREFIX@
setenv VIRTUAL_ENV_PROMPT @NAME@
setenv PATH "${VIRTUAL_ENV}/bin:${PATH}"

if ($?prompt && ! $?VIRTUAL_ENV_DISABLE_PROMPT) then
    set _OLD_VIRTUAL_PROMPT = "$prompt"
    set prompt = "($VIRTUAL_ENV_PROMPT) $prompt"
endif

alias deactivate 'setenv PATH "$_OLD_VIRTUAL_PATH"; unset _OLD_VIRTUAL_PATH; test $?_OLD_VIRTUAL_PROMPT = 1 && set prompt = "$_OLD_VIRTUAL_PROMPT"; unset _OLD_VIRTUAL_PROMPT; unsetenv VIRTUAL_ENV; unsetenv VIRTUAL_ENV_PROMPT; rehash; unalias deactivate'

rehash
