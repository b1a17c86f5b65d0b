/* state_test.c - every move of the state table, the possible and the impossible. */
#include "harness.h"
#include "internal.h"

static void every_phase_move(void) {
    static const char allowed[6][7] = {
        /*               I H O C X B */
        [TIO_IDLE]        = ".h..xb",
        [TIO_HANDSHAKING] = "..o.xb",
        [TIO_OPEN]        = "...cxb",
        [TIO_CLOSING]     = "....xb",
        [TIO_CLOSED]      = "......",
        [TIO_BROKEN]      = "......",
    };
    for (int from = TIO_IDLE; from <= TIO_BROKEN; from++)
        for (int to = TIO_IDLE; to <= TIO_BROKEN; to++) {
            tio_conn c = { .phase = (uint8_t)from, .question = TIO_ASK_HELLO };
            int well = allowed[from][to] != '.';
            snprintf(note, sizeof note, "phase %d to %d", from, to);
            CHECK_INT(tio_move_phase(&c, (tio_phase)to), well ? 0 : -1);
            CHECK_INT(c.phase, well ? to : from);
            CHECK_INT(c.question, well && to >= TIO_CLOSED ? TIO_NO_QUESTION : TIO_ASK_HELLO);
        }
}

static void every_question_move(void) {
    for (int phase = TIO_IDLE; phase <= TIO_BROKEN; phase++)
        for (int from = TIO_NO_QUESTION; from <= TIO_ASK_CLIENT; from++)
            for (int to = TIO_NO_QUESTION; to <= TIO_ASK_CLIENT; to++) {
                tio_conn c = { .phase = (uint8_t)phase, .question = (uint8_t)from };
                int well = to == TIO_NO_QUESTION || (from == TIO_NO_QUESTION && (phase == TIO_HANDSHAKING || phase == TIO_OPEN));
                snprintf(note, sizeof note, "phase %d, question %d to %d", phase, from, to);
                CHECK_INT(tio_move_question(&c, (tio_question)to), well ? 0 : -1);
                CHECK_INT(c.question, well ? to : from);
            }
}

static void every_in_and_out_move(void) {
    for (int from = 0; from <= 2; from++)
        for (int to = 0; to <= 2; to++) {
            tio_conn c = { .in = (uint8_t)from, .out = (uint8_t)from };
            snprintf(note, sizeof note, "%d to %d", from, to);
            CHECK_INT(tio_move_in(&c, (tio_in)to), from == TIO_IN_OPEN && to != TIO_IN_OPEN ? 0 : -1);
            CHECK_INT(tio_move_out(&c, (tio_out)to), to > from ? 0 : -1);
        }
}

void state_tests(void) {
    RUN(every_phase_move);
    RUN(every_question_move);
    RUN(every_in_and_out_move);
}
