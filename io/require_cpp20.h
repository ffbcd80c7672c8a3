#ifndef FIXPOOL_IO_REQUIRE_CPP20_H_
#define FIXPOOL_IO_REQUIRE_CPP20_H_

// Every public header includes this one first, so that a user whose project is
// compiled as an older C++ reads one sentence and not a page of template errors.
#if !defined(__cplusplus) || __cplusplus < 202002L
#error "Fixpool needs C++20: compile the sources that include it with -std=c++20 or later."
#endif

#endif  // FIXPOOL_IO_REQUIRE_CPP20_H_
