# Writes the commit that is built into FILE, where it has changed: cmake -DSOURCE=FOLDER -DFILE=commit.h -P commit.cmake. Without git, or outside a
# repository, it is empty.
find_program(git git)
set(commit "")
if(git)
  execute_process(COMMAND "${git}" describe --always --dirty --abbrev=12 --exclude=* WORKING_DIRECTORY "${SOURCE}" OUTPUT_VARIABLE commit
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
set(text "#pragma once\n\nnamespace syncdr::app {\n\ninline constexpr const char* built_commit = \"${commit}\";\n\n}  // namespace syncdr::app\n")
set(before "")
if(EXISTS "${FILE}")
  file(READ "${FILE}" before)
endif()
if(NOT text STREQUAL before)
  file(WRITE "${FILE}" "${text}")
endif()
