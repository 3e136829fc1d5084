#include "crash_sim.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "journal/index_state.h"

bool crash_index_adopt(const char *image, uint64_t recorded_inode)
{
    unsigned char block[INDEX_STATE_BYTES];
    char path[PATH_MAX];
    struct index_state state;
    struct statx st;
    bool is_adopted = false;
    int fd;

    snprintf(path, sizeof(path), "%.4000s/index/index.state", image);
    fd = open(path, O_RDWR | O_CLOEXEC);
    snprintf(path, sizeof(path), "%.4000s/index/index.lmdb", image);
    if (fd >= 0 && pread(fd, block, sizeof(block), 0) == (ssize_t)sizeof(block) &&
        index_state_decode(slice_of(block, sizeof(block)), &state, NULL) == 0 && state.inode == recorded_inode &&
        statx(AT_FDCWD, path, 0, STATX_INO | STATX_BTIME, &st) == 0) {
        bool has_birth = (st.stx_mask & STATX_BTIME) != 0;

        state.inode = st.stx_ino;
        state.birth_s = has_birth ? st.stx_btime.tv_sec : 0;
        state.birth_ns = has_birth ? st.stx_btime.tv_nsec : 0;
        index_state_encode(block, &state);
        if (pwrite(fd, block, sizeof(block), 0) != (ssize_t)sizeof(block))
            panic("cannot write the state of %s", path);
        is_adopted = true;
    }
    if (fd >= 0)
        close(fd);
    return is_adopted;
}
