// A program that uses nothing but the lowest layer.

#include <cstdio>

#include "fixpool/io/version.h"

int main() { std::printf("fixpool %s\n", FIXPOOL_VERSION_STRING); }
