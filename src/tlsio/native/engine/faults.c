/* faults.c - OpenSSL's error queue copied into one struct, at once: the queue belongs to the thread, and the next call
 * for any other connection would overwrite it. */
#include "internal.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

static void read_queue(tio_fault *f) {
    unsigned long code;
    const char *file, *function, *data;
    int line, flags;
    while ((code = ERR_get_error_all(&file, &line, &function, &data, &flags)) != 0) {
        if (f->count == (int)(sizeof f->entries / sizeof *f->entries)) continue;      /* keep the oldest: the cause */
        tio_fault_entry *e = &f->entries[f->count++];
        e->code = code;
        if (function) strncpy(e->function, function, sizeof e->function - 1);
        if (data && (flags & ERR_TXT_STRING)) strncpy(e->data, data, sizeof e->data - 1);
    }
}

void tio_fault_set(tio_conn *c, tio_fault_kind kind, tio_limit limit, int os_error) {
    int held = c->question != TIO_NO_QUESTION;
    if (tio_move_phase(c, TIO_BROKEN)) {                /* final already: the first fault stands */
        ERR_clear_error();
        return;
    }
    if (held) tio_wire_drop_output(c);                  /* what waited for an answer must not leave without one */
    c->fault = calloc(1, sizeof *c->fault);             /* without memory BROKEN alone has to say it */
    if (!c->fault) {
        ERR_clear_error();
        return;
    }
    c->fault->kind = kind;
    c->fault->limit = limit;
    c->fault->os_error = os_error;
    read_queue(c->fault);
}

void tio_conn_break(tio_conn *c, tio_fault_kind kind, tio_limit limit, int os_error) {
    ERR_clear_error();                                  /* whatever stands there is not about this */
    tio_fault_set(c, kind, limit, os_error);
}
