/* crc.h - CRC-32C (Castagnoli polynomial, reflected), as in RFC 3720 B.4 and iSCSI test vectors.
 *
 * Model:    crc32c(0, p, n) is the plain checksum; a result may be passed as the first argument to go on, and a
 *           non-zero start value seeds it. Uses SSE4.2 or ARM CRC instructions when the processor has them, else
 *           slicing by 8.
 */
#ifndef BASE_CRC_H
#define BASE_CRC_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t start, const void *ptr, size_t len);
/* The table version, for the tests and other processors. */
uint32_t crc32c_portable(uint32_t start, const void *ptr, size_t len);

#endif
