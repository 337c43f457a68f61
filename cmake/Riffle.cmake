# How every room of the house is built: warnings, sanitizers, and one function for a room and one for its tests.

add_library(riffle_flags INTERFACE)
target_compile_options(riffle_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Wold-style-cast -Woverloaded-virtual -Werror
  # g++ 12 reports these inside the standard library at -O2; clang and the sanitizers watch over them instead.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-error=maybe-uninitialized -Wno-error=stringop-overflow -Wno-error=array-bounds
    -Wno-error=restrict -Wno-missing-field-initializers>
  # -Wconversion of clang also holds signs, that of g++ does not: one rule for both.
  $<$<CXX_COMPILER_ID:Clang>:-Wno-sign-conversion -Wno-missing-designated-field-initializers -Wno-missing-field-initializers>)
if(RIFFLE_SANITIZE)
  target_compile_options(riffle_flags INTERFACE -fsanitize=${RIFFLE_SANITIZE} -fno-omit-frame-pointer -g)
  if(RIFFLE_SANITIZE MATCHES undefined)
    target_compile_options(riffle_flags INTERFACE -fno-sanitize-recover=undefined)
  endif()
  target_link_options(riffle_flags INTERFACE -fsanitize=${RIFFLE_SANITIZE})
endif()
if(RIFFLE_COVERAGE)
  target_compile_options(riffle_flags INTERFACE -fprofile-instr-generate -fcoverage-mapping)
  target_link_options(riffle_flags INTERFACE -fprofile-instr-generate)
endif()

# riffle_room(core src/core/session ... DEPS base meet): one static library from the .cpp files of its folders, less
# their tests. The link graph is the dependency law of the architecture.
function(riffle_room name)
  cmake_parse_arguments(ROOM "" "" "FOLDERS;DEPS;EXTERNAL" ${ARGN})
  set(sources)
  foreach(folder IN LISTS ROOM_FOLDERS)
    file(GLOB found CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cpp)
    list(FILTER found EXCLUDE REGEX "_test\\.cpp$")
    list(APPEND sources ${found})
  endforeach()
  if(sources)
    add_library(riffle_${name} STATIC ${sources})
    set(scope PUBLIC)
  else()
    add_library(riffle_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(riffle_${name} ${scope} ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  foreach(dep IN LISTS ROOM_DEPS)
    target_link_libraries(riffle_${name} ${scope} riffle_${dep})
  endforeach()
  target_link_libraries(riffle_${name} ${scope} riffle_flags ${ROOM_EXTERNAL})
endfunction()

# riffle_room_tests(core FOLDERS core/session DEPS ... LABELS ...): every x_test.cpp beside the code, in one program.
function(riffle_room_tests name)
  if(NOT RIFFLE_TESTS)
    return()
  endif()
  cmake_parse_arguments(ROOM "" "" "FOLDERS;DEPS;LABELS" ${ARGN})
  set(sources)
  foreach(folder IN LISTS ROOM_FOLDERS)
    file(GLOB found CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*_test.cpp)
    list(APPEND sources ${found})
  endforeach()
  if(NOT sources)
    return()
  endif()
  riffle_test(${name}_test SOURCES ${sources} DEPS ${ROOM_DEPS} LABELS ${ROOM_LABELS})
endfunction()

# The ThreadSanitizer presets build and run only the programs that carry one of these labels. Label `perf` marks tests
# that judge speed: no sanitizer or coverage preset runs them.
add_custom_target(tests_threads)
add_custom_target(tests_session)

# riffle_test(session_suite SOURCES a.cpp DEPS riffle_core LABELS session): one GoogleTest program, each case a ctest.
function(riffle_test name)
  cmake_parse_arguments(T "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 120)
  endif()
  add_executable(${name} ${T_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${T_DEPS} riffle_flags GTest::gtest GTest::gtest_main)
  # Programs may use the same test names, so each gets its program's.
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST TEST_PREFIX ${name}. PROPERTIES TIMEOUT ${T_TIMEOUT})
  if(T_LABELS)
    # gtest_discover_tests loses all labels but the first; ctest reads this file after it has found the tests.
    set(file ${CMAKE_CURRENT_BINARY_DIR}/${name}_labels.cmake)
    file(CONFIGURE OUTPUT ${file} @ONLY CONTENT [[
foreach(test IN LISTS @name@_TESTS)
  set_tests_properties("${test}" PROPERTIES LABELS "@T_LABELS@")
endforeach()
]])
    set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${file})
  endif()
  foreach(label IN LISTS T_LABELS)
    if(TARGET tests_${label})
      add_dependencies(tests_${label} ${name})
    endif()
  endforeach()
endfunction()
