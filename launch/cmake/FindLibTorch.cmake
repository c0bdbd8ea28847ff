# Finds LibTorch and makes the imported target LibTorch::LibTorch. Sets LibTorch_HAS_CUDA where it has CUDA,
# LibTorch_HAS_NCCL where c10d's NCCL backend can be used too.
#
# Looked for, in this order:
#   1. Torch_DIR, TORCH_DIR or LIBTORCH (CMake variable or environment): a LibTorch of your own, through its own package file
#   2. SYNCDR_TORCH_WHEEL: the site-packages folder of a PyTorch wheel
#   3. the wheel that launch/setup.sh installed in the per-user cache
#
# The wheel's own package file wants a CUDA toolkit even where nothing is compiled for GPUs. Here imported targets are made from the wheel's
# folders, which needs none: CUDA's and NCCL's headers and libraries come inside the wheel's dependencies.

foreach(name Torch_DIR TORCH_DIR LIBTORCH)
  if(NOT DEFINED ${name} AND DEFINED ENV{${name}})
    set(${name} "$ENV{${name}}")
  endif()
endforeach()

if(NOT Torch_DIR AND TORCH_DIR)
  set(Torch_DIR "${TORCH_DIR}")
elseif(NOT Torch_DIR AND LIBTORCH)
  set(Torch_DIR "${LIBTORCH}/share/cmake/Torch")
endif()

if(Torch_DIR AND NOT TARGET LibTorch::LibTorch)
  find_package(Torch REQUIRED CONFIG PATHS "${Torch_DIR}" NO_DEFAULT_PATH)
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  target_link_libraries(LibTorch::LibTorch INTERFACE ${TORCH_LIBRARIES})
  get_filename_component(LibTorch_ROOT "${TORCH_INSTALL_PREFIX}" ABSOLUTE)
  set(LibTorch_HAS_CUDA FALSE)
  set(LibTorch_HAS_NCCL FALSE)
  if(TARGET torch_cuda OR EXISTS "${LibTorch_ROOT}/lib/libtorch_cuda.so")
    set(LibTorch_HAS_CUDA TRUE)
    set(LibTorch_HAS_NCCL TRUE)
    # c10d's NCCL header includes <nccl.h>: beside the library in a wheel, from the system otherwise.
    find_path(LibTorch_NCCL_INCLUDE nccl.h HINTS "${LibTorch_ROOT}/../nvidia/nccl/include" "${LibTorch_ROOT}/include")
    if(LibTorch_NCCL_INCLUDE)
      target_include_directories(LibTorch::LibTorch SYSTEM INTERFACE "${LibTorch_NCCL_INCLUDE}")
    else()
      message(WARNING "This LibTorch has CUDA, but nccl.h was not found: GPUs of several ranks will not be used. Set LibTorch_NCCL_INCLUDE to its folder.")
      set(LibTorch_HAS_NCCL FALSE)
    endif()
  endif()
elseif(NOT TARGET LibTorch::LibTorch)
  set(_versions 2.11.0)
  if(DEFINED ENV{SYNCDR_CACHE})
    set(_cache "$ENV{SYNCDR_CACHE}")
  elseif(DEFINED ENV{XDG_CACHE_HOME})
    set(_cache "$ENV{XDG_CACHE_HOME}/syncdr")
  else()
    set(_cache "$ENV{HOME}/.cache/syncdr")
  endif()
  if(NOT SYNCDR_TORCH_WHEEL)
    file(GLOB SYNCDR_TORCH_WHEEL "${_cache}/torch-${_versions}/lib/python3*/site-packages")
  endif()
  set(LibTorch_ROOT "${SYNCDR_TORCH_WHEEL}/torch")
  if(EXISTS "${LibTorch_ROOT}/lib/libtorch_cpu.so")
    add_library(LibTorch::LibTorch INTERFACE IMPORTED)
    target_include_directories(LibTorch::LibTorch SYSTEM INTERFACE
      "${LibTorch_ROOT}/include" "${LibTorch_ROOT}/include/torch/csrc/api/include")
    target_link_directories(LibTorch::LibTorch INTERFACE "${LibTorch_ROOT}/lib")
    target_link_options(LibTorch::LibTorch INTERFACE "-Wl,-rpath,${LibTorch_ROOT}/lib" "-Wl,--allow-shlib-undefined")
    set(LibTorch_HAS_CUDA FALSE)
    set(LibTorch_HAS_NCCL FALSE)
    set(_libraries torch torch_cpu c10)
    if(EXISTS "${LibTorch_ROOT}/lib/libtorch_cuda.so")
      set(LibTorch_HAS_CUDA TRUE)
      set(LibTorch_HAS_NCCL TRUE)
      list(APPEND _libraries torch_cuda c10_cuda)
      file(GLOB _nvidia "${SYNCDR_TORCH_WHEEL}/nvidia/cu*/include" "${SYNCDR_TORCH_WHEEL}/nvidia/*/include")
      target_include_directories(LibTorch::LibTorch SYSTEM INTERFACE ${_nvidia})
    endif()
    # torch_cuda registers its kernels when it is loaded and no symbol of it is called by name, so it must not be dropped as unneeded.
    # The wheel's libtorch exports a partial std::filesystem of its own (remove_all there jumps to address 0): libstdc++ must be looked up first.
    list(JOIN _libraries " -l" _flags)
    target_link_libraries(LibTorch::LibTorch INTERFACE "-Wl,--no-as-needed -lstdc++ -l${_flags} -Wl,--as-needed")
  endif()
endif()

# LibTorch's include folder holds a copy of fmt of another version than the system's, which spdlog was built with. The system's must win,
# and its own folder (/usr/include) cannot be moved forward, so a folder with one link in it is.
if(TARGET LibTorch::LibTorch AND EXISTS "${LibTorch_ROOT}/include/fmt")
  find_path(LibTorch_FMT_INCLUDE fmt/core.h NO_CACHE)
  if(LibTorch_FMT_INCLUDE)
    file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/system-fmt")
    file(CREATE_LINK "${LibTorch_FMT_INCLUDE}/fmt" "${CMAKE_BINARY_DIR}/system-fmt/fmt" SYMBOLIC)
    target_include_directories(LibTorch::LibTorch SYSTEM BEFORE INTERFACE "${CMAKE_BINARY_DIR}/system-fmt")
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_ROOT
  REASON_FAILURE_MESSAGE "No LibTorch. Run launch/setup.sh, or point Torch_DIR or LIBTORCH to your own.")
if(NOT TARGET LibTorch::LibTorch)
  message(FATAL_ERROR "No LibTorch in '${LibTorch_ROOT}'. Run launch/setup.sh, or point Torch_DIR or LIBTORCH to your own.")
endif()
