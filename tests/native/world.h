/* world.h - a small server around the reactor, as a binding would be, and clients on descriptors of their own. */
#ifndef TLSIO_WORLD_H
#define TLSIO_WORLD_H

#include "harness.h"

typedef struct {
    tio_reactor *r;
    tio_gate gate;
    SSL_CTX *client_ctx;
    int port, listener;
    int deaf;                           /* nobody reads: connections are only stepped */
    int held;                           /* questions stay open */
    int tolerant;                       /* of writes that fail */
    int accepted, questions, opened, failed, dropped, listener_errors, turned;
    int error;                          /* of the listener */
    tio_fault_kind kind;                /* of the last failure */
    tio_limit limit;
    tio_conn *last;                     /* the newest that was heard of; NULL when it is gone */
    size_t got;                         /* plaintext read */
} world;

typedef struct {
    plain p;
    int fd, error, eof;
    char text[4096];
    size_t got;
} visitor;

int listen_anywhere(int *port);
void world_make(world *w, int version, unsigned wants);
void world_free(world *w);
void gone(world *w, tio_conn *c, int wait);
void serve(world *w, tio_conn *c);
void look_after(world *w, tio_conn *c);
void hear(world *w, tio_notice *n);
int is_awake(const world *w);
void turn(world *w);
void turns(world *w, int n);
int settles(world *w);
int dial(int port);
visitor visit(const world *w);
void leave(visitor *v);
void hand_out(visitor *v);
void take_in(visitor *v);
void act(visitor *v);
void both(world *w, visitor *v, int rounds);
visitor opened(world *w);
int descriptors(void);
size_t unsent_of(const tio_conn *c);

#endif
