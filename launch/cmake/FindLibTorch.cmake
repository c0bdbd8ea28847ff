# Finds LibTorch by the layout of its folder and makes the imported target LibTorch::LibTorch. Sets LibTorch_ROOT and LibTorch_VERSION, LibTorch_HAS_CUDA
# where CUDA graphs and c10d's NCCL backend can be used.
#
# Looked for, in this order (CMake variables or the environment):
#   1. LIBTORCH: an unpacked LibTorch, or site-packages/torch of a PyTorch wheel
#   2. Torch_DIR or TORCH_DIR: the folder share/cmake/Torch of one
#   3. the wheel that launch/setup.sh installed in the per-user cache, in the virtual environment LibTorch_VENV
#
# LibTorch's own package file is not used: it wants a CUDA toolkit, and a CMake that knows its dialect, even where nothing is compiled for GPUs. Here
# only CUDA's headers are needed: a wheel's dependencies bring them (launch/setup.sh adds the two that are missing), else a toolkit's are taken.

set(_oldest 2.11.0)  # c10d's interface moves between releases
set(_newest 2.15.0)  # the newest it was tried with

foreach(name LIBTORCH Torch_DIR TORCH_DIR SYNCDR_CACHE XDG_CACHE_HOME CUDA_HOME)
  if(NOT ${name} AND DEFINED ENV{${name}})
    set(${name} "$ENV{${name}}")
  endif()
endforeach()
if(NOT XDG_CACHE_HOME)
  set(XDG_CACHE_HOME "$ENV{HOME}/.cache")
endif()
if(NOT SYNCDR_CACHE)
  set(SYNCDR_CACHE "${XDG_CACHE_HOME}/syncdr")
endif()

set(LibTorch_VENV "${SYNCDR_CACHE}/torch-${_oldest}")

if(LIBTORCH)
  set(LibTorch_ROOT "${LIBTORCH}")
elseif(Torch_DIR)
  get_filename_component(LibTorch_ROOT "${Torch_DIR}/../../.." ABSOLUTE)
elseif(TORCH_DIR)
  get_filename_component(LibTorch_ROOT "${TORCH_DIR}/../../.." ABSOLUTE)
else()
  file(GLOB LibTorch_ROOT "${LibTorch_VENV}/lib/python3*/site-packages/torch")
endif()
set(_hint "Run launch/setup.sh, or point LIBTORCH to the folder of your own that holds include/ and lib/.")
if(NOT EXISTS "${LibTorch_ROOT}/lib/libtorch_cpu.so" OR NOT EXISTS "${LibTorch_ROOT}/include/ATen/ATen.h")
  message(FATAL_ERROR "No LibTorch in \"${LibTorch_ROOT}\". ${_hint}")
endif()

set(LibTorch_VERSION 0)  # of one from before this header
if(EXISTS "${LibTorch_ROOT}/include/torch/headeronly/version.h")
  file(STRINGS "${LibTorch_ROOT}/include/torch/headeronly/version.h" _version REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) [0-9]+")
  string(REGEX MATCHALL "[0-9]+" _version "${_version}")
  list(JOIN _version "." LibTorch_VERSION)
endif()
if(LibTorch_VERSION VERSION_LESS _oldest)
  message(FATAL_ERROR "LibTorch in ${LibTorch_ROOT} is older than ${_oldest}. ${_hint}")
elseif(LibTorch_VERSION VERSION_GREATER _newest)
  message(STATUS "LibTorch ${LibTorch_VERSION} is newer than ${_newest}, the newest that was tried")
endif()

if(NOT TARGET LibTorch::LibTorch)
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  target_include_directories(LibTorch::LibTorch SYSTEM INTERFACE "${LibTorch_ROOT}/include" "${LibTorch_ROOT}/include/torch/csrc/api/include")
  # From 18 on clang puts a template's constraints into its name, which the wheels' compiler did not: const_data_ptr<float>() would not be found.
  target_compile_options(LibTorch::LibTorch INTERFACE
    "$<$<AND:$<CXX_COMPILER_ID:Clang>,$<VERSION_GREATER_EQUAL:$<CXX_COMPILER_VERSION>,18>>:-fclang-abi-compat=17>")
  target_link_options(LibTorch::LibTorch INTERFACE "-L${LibTorch_ROOT}/lib" "-Wl,-rpath,${LibTorch_ROOT}/lib" "-Wl,--allow-shlib-undefined")

  # LibTorch's include folder holds a copy of fmt of another version than the system's, which spdlog was built with. The system's must win,
  # and its own folder (/usr/include) cannot be moved forward, so a folder with one link in it is.
  find_path(LibTorch_FMT_INCLUDE fmt/core.h NO_CACHE)
  if(EXISTS "${LibTorch_ROOT}/include/fmt" AND LibTorch_FMT_INCLUDE)
    file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/system-fmt")
    file(CREATE_LINK "${LibTorch_FMT_INCLUDE}/fmt" "${CMAKE_BINARY_DIR}/system-fmt/fmt" SYMBOLIC)
    target_include_directories(LibTorch::LibTorch SYSTEM BEFORE INTERFACE "${CMAKE_BINARY_DIR}/system-fmt")
  endif()

  set(LibTorch_HAS_CUDA FALSE)
  set(_libraries torch_cpu c10)
  if(EXISTS "${LibTorch_ROOT}/lib/libtorch_cuda.so")
    list(APPEND _libraries torch_cuda c10_cuda)
    file(GLOB _cuda LIST_DIRECTORIES TRUE "${LibTorch_ROOT}/../nvidia/*/include" "${LibTorch_ROOT}/../nvidia/*/include/cccl")
    foreach(folder "${CUDA_HOME}" /usr/local/cuda)
      if(NOT _cuda AND EXISTS "${folder}/include/cuda_runtime_api.h")
        set(_cuda "${folder}/include" "${folder}/include/cccl")
      endif()
    endforeach()
    target_include_directories(LibTorch::LibTorch SYSTEM INTERFACE ${_cuda})

    # What compiles decides, not what lies where. Asked anew when the folder is another one.
    if(NOT LibTorch_ASKED STREQUAL LibTorch_ROOT)
      unset(LibTorch_CUDA_COMPILES CACHE)
      set(LibTorch_ASKED "${LibTorch_ROOT}" CACHE INTERNAL "")
    endif()
    include(CheckCXXSourceCompiles)
    set(CMAKE_REQUIRED_LIBRARIES LibTorch::LibTorch)
    set(CMAKE_REQUIRED_FLAGS "-std=c++20")
    set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)  # nothing is linked
    check_cxx_source_compiles("#define USE_C10D_NCCL\n#include <ATen/cuda/CUDAGraph.h>\n#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>"
      LibTorch_CUDA_COMPILES)
    unset(CMAKE_TRY_COMPILE_TARGET_TYPE)
    unset(CMAKE_REQUIRED_LIBRARIES)
    unset(CMAKE_REQUIRED_FLAGS)
    set(LibTorch_HAS_CUDA ${LibTorch_CUDA_COMPILES})
    if(NOT LibTorch_HAS_CUDA)
      message(WARNING "LibTorch in ${LibTorch_ROOT} has CUDA, but headers of CUDA or NCCL are missing (the newest log in ${CMAKE_BINARY_DIR}/CMakeFiles "
        "names the first): the programs will have neither NCCL nor CUDA graphs. Beside a wheel: pip install nvidia-cuda-crt nvidia-cuda-cccl, of its CUDA "
        "release. Otherwise point CUDA_HOME to a toolkit of that release. Then build in a fresh folder.")
    endif()
  endif()
  # torch_cuda registers its kernels when it is loaded and no symbol of it is called by name, so it must not be dropped as unneeded.
  # The wheel's libtorch exports a partial std::filesystem of its own (remove_all there jumps to address 0): libstdc++ must be looked up first.
  list(JOIN _libraries " -l" _flags)
  target_link_libraries(LibTorch::LibTorch INTERFACE "-Wl,--no-as-needed -lstdc++ -l${_flags} -Wl,--as-needed")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch REQUIRED_VARS LibTorch_ROOT VERSION_VAR LibTorch_VERSION)
