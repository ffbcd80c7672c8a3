#ifndef FIXPOOL_IO_VERSION_H_
#define FIXPOOL_IO_VERSION_H_

// The version of the headers that you compile against. Before 1.0 there is no
// promise of binary compatibility: build the library and its user together.
#define FIXPOOL_VERSION_MAJOR 0
#define FIXPOOL_VERSION_MINOR 1
#define FIXPOOL_VERSION_PATCH 0
#define FIXPOOL_VERSION_STRING "0.1.0"

#endif  // FIXPOOL_IO_VERSION_H_
