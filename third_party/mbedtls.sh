# Recipe for mbedTLS, sourced by third_party/build. Our configuration replaces the stock one, in the library and in
# the installed headers, so that both always agree.
fetch mbedtls '3.6.*'
library=$deps/src/mbedtls/library
rm -rf "$deps/include/mbedtls" "$deps/include/psa"
cp -R "$deps/src/mbedtls/include/mbedtls" "$deps/src/mbedtls/include/psa" "$deps/include/"
cp "$here/mbedtls.config.h" "$deps/include/mbedtls/mbedtls_config.h"
recipe_cflags="-pthread -I$deps/include -I$library"

tls=$(cd "$library" && echo debug.c mps_*.c net_sockets.c ssl_*.c)
x509=$(cd "$library" && echo x509*.c pkcs7.c)
crypto=$(cd "$library" && ls ./*.c | sed 's,^\./,,' | grep -vE '^(debug|net_sockets|pkcs7|mps_.*|ssl_.*|x509.*)\.c$')
# shellcheck disable=SC2086
{
    static_library libmbedcrypto.a "$library" $crypto
    static_library libmbedx509.a "$library" $x509
    static_library libmbedtls.a "$library" $tls
}
