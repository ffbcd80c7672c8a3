// A program that uses the whole library.

#include <cstdio>

#include "fixpool/io/version.h"

int main() { std::printf("fixpool %s\n", FIXPOOL_VERSION_STRING); }
