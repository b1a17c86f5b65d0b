/* portable/reactor.c - replaces reactor.c and its files on systems without epoll.
 *
 * tio_reactor_new() always fails, so no function that takes a tio_reactor can be called. All
 * connections have memory wires; tio_reactor_discard() just frees them. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>

tio_reactor *tio_reactor_new(void) {
    errno = ENOSYS;
    return NULL;
}

void tio_reactor_free(tio_reactor *r, int forked) {
    (void)forked;
    if (r) abort();
}

void tio_reactor_discard(tio_conn *c) { tio_conn_free(c); }

int tio_reactor_fd(const tio_reactor *r) { (void)r; abort(); }
int tio_reactor_poll(tio_reactor *r) { (void)r; abort(); }
void tio_reactor_work(tio_reactor *r) { (void)r; abort(); }
int tio_reactor_next_notice(tio_reactor *r, tio_notice *notice) { (void)r, (void)notice; abort(); }
tio_conn *tio_reactor_conn(const tio_reactor *r, uint64_t handle) { (void)r, (void)handle; abort(); }
int tio_reactor_has_notices(const tio_reactor *r) { (void)r; abort(); }
int tio_reactor_owes_reports(const tio_reactor *r, const tio_gate *g) { (void)r, (void)g; abort(); }
int tio_reactor_is_busy(const tio_reactor *r) { (void)r; abort(); }
size_t tio_reactor_load(const tio_reactor *r) { (void)r; abort(); }
size_t tio_reactor_owners(const tio_reactor *r, void **owners) { (void)r, (void)owners; abort(); }
int tio_reactor_listen(tio_reactor *r, tio_gate *g, int fd) { (void)r, (void)g, (void)fd; abort(); }
int tio_reactor_start(tio_reactor *r, tio_gate *g) { (void)r, (void)g; abort(); }
void tio_threads_pause(tio_reactor *r) { (void)r; abort(); }
void tio_threads_run(tio_reactor *r) { (void)r; abort(); }
int tio_reactor_return(tio_reactor *r, tio_conn *c) { (void)r, (void)c; abort(); }
void tio_reactor_unlisten(tio_reactor *r, tio_gate *g) { (void)r, (void)g; abort(); }
int tio_reactor_add(tio_reactor *r, tio_conn *c, int fd) { (void)r, (void)c, (void)fd; abort(); }
void tio_reactor_update(tio_reactor *r, tio_conn *c) { (void)r, (void)c; abort(); }
void tio_reactor_resume(tio_reactor *r, tio_conn *c) { (void)r, (void)c; abort(); }
void tio_reactor_drop(tio_reactor *r, tio_conn *c, int wait) { (void)r, (void)c, (void)wait; abort(); }
void tio_reactor_end(tio_reactor *r, tio_gate *g) { (void)r, (void)g; abort(); }
void tio_reactor_evict(tio_reactor *r, tio_gate *g) { (void)r, (void)g; abort(); }
