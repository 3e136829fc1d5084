# Recipe for LMDB, sourced by third_party/build. Compile-time limits stay at their defaults (keys up to 511 octets).
fetch lmdb '0.9.3[1-9]*'
recipe_cflags=-pthread
static_library liblmdb.a "$deps/src/lmdb/libraries/liblmdb" mdb.c midl.c
cp "$deps/src/lmdb/libraries/liblmdb/lmdb.h" "$deps/include/"
