# What makes builds quick: ccache, a fast linker, and one precompiled header (see src/CMakeLists.txt).
find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # ccache refuses precompiled headers unless it is told that time stamps and defines inside them do not matter. In depend mode it learns the headers
  # from the compiler: without it each new source would be preprocessed first, for one to two seconds.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros CCACHE_DEPEND=1 ${CCACHE})
endif()

include(CheckLinkerFlag)
foreach(linker mold lld)
  check_linker_flag(CXX "-fuse-ld=${linker}" SYNCDR_HAS_${linker})
  if(SYNCDR_HAS_${linker})
    add_link_options("-fuse-ld=${linker}")
    break()
  endif()
endforeach()
