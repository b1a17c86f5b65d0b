/* serials.c - the serial numbers of a CRL.
 *
 * A CRL may have 200,000 entries (7 MB), and a handshake looks up one serial number per
 * certificate. So there is no object per entry: reading sorts pointers to the entries, 8 bytes
 * each, by serial number within a copy of their DER, and a lookup is a binary search of about 18
 * steps. The result is immutable, so threads may search it concurrently. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

struct tio_serials {
    atomic_int owners;
    size_t count, size;
    const uint8_t **entries;            /* pointers into der, sorted by serial number */
    uint8_t der[];
};

typedef struct {
    uint8_t tag;
    const uint8_t *content, *end;
} element;

/* Read the element at *at and move past it. 0: it is incomplete, or not DER. */
static int next_element(const uint8_t **at, const uint8_t *end, element *found) {
    const uint8_t *p = *at;
    if (end - p < 2 || (p[0] & 0x1f) == 0x1f) return 0;
    found->tag = p[0];
    size_t length = p[1];
    p += 2;
    if (length >= 0x80) {
        size_t octets = length & 0x7f;
        if (octets == 0 || octets > 4 || (size_t)(end - p) < octets) return 0;
        for (length = 0; octets; octets--) length = length << 8 | *p++;
    }
    if ((size_t)(end - p) < length) return 0;
    found->content = p;
    *at = found->end = p + length;
    return 1;
}

/* Compare the serial numbers at the start of two entries, their short-form lengths included: see
 * is_entry(). */
static int compare(const void *one, const void *other) {
    const uint8_t *a = *(const uint8_t *const *)one, *b = *(const uint8_t *const *)other;
    return memcmp(a + 1, b + 1, (size_t)(a[1] < b[1] ? a[1] : b[1]) + 1);
}

/* May an entry have this extension?
 *
 * reasonCode (2.5.29.21) and invalidityDate (.24) are known. certificateIssuer (.29) assigns the
 * entry to another issuer. "If a CRL contains a critical CRL entry extension that the application
 * cannot process, then the application MUST NOT use that CRL" (RFC 5280 5.3). */
static int is_permitted(const element *extension) {
    const uint8_t *at = extension->content;
    element field;
    if (extension->tag != 0x30 || !next_element(&at, extension->end, &field) || field.tag != 0x06) return 0;
    if (field.end - field.content == 3 && field.content[0] == 0x55 && field.content[1] == 0x1d) {
        if (field.content[2] == 21 || field.content[2] == 24) return 1;
        if (field.content[2] == 29) return 0;
    }
    return next_element(&at, extension->end, &field) && !(field.tag == 0x01 && field.content != field.end && field.content[0]);
}

/* Is this a valid entry: a serial number, a date, and only permitted extensions? *serial is where
 * it begins. */
static int is_entry(const element *entry, const uint8_t **serial) {
    const uint8_t *at = *serial = entry->content;
    element part, extension;
    /* "Certificate users MUST be able to handle serialNumber values up to 20 octets" (RFC 5280
     * 4.1.2.2): 127 suffice. */
    if (entry->tag != 0x30 || !next_element(&at, entry->end, &part) || part.tag != 0x02 || part.content == part.end) return 0;
    if (part.content - *serial != 2 || part.end - part.content > 0x7f) return 0;
    /* OpenSSL rejects padded serial numbers in certificates, so one in a CRL would never match. */
    const uint8_t *n = part.content;
    if (part.end - n > 1 && ((n[0] == 0 && n[1] < 0x80) || (n[0] == 0xff && n[1] >= 0x80))) return 0;
    if (!next_element(&at, entry->end, &part) || (part.tag != 0x17 && part.tag != 0x18)) return 0;
    if (at == entry->end) return 1;
    if (!next_element(&at, entry->end, &part) || part.tag != 0x30 || at != entry->end) return 0;
    for (at = part.content; at < part.end; )
        if (!next_element(&at, part.end, &extension) || !is_permitted(&extension)) return 0;
    return 1;
}

/* Fill the table. 0, or a TIO_SERIALS_* error. */
static int read_entries(tio_serials *s) {
    const uint8_t *at = s->der;
    size_t room = 0;
    element entry;
    while (at < s->der + s->size) {
        if (s->count == room) {
            room = room ? room * 2 : 64;
            const uint8_t **grown = realloc(s->entries, room * sizeof *grown);
            if (!grown) return TIO_SERIALS_MEMORY;
            s->entries = grown;
        }
        if (!next_element(&at, s->der + s->size, &entry) || !is_entry(&entry, &s->entries[s->count])) return TIO_SERIALS_MALFORMED;
        s->count++;
    }
    if (s->count) qsort(s->entries, s->count, sizeof *s->entries, compare);
    return 0;
}

int tio_serials_read(const uint8_t *content, size_t size, tio_serials **read) {
    tio_serials *s = calloc(1, sizeof *s + size);
    if (!s) return TIO_SERIALS_MEMORY;
    atomic_init(&s->owners, 1);
    s->size = size;
    if (size) memcpy(s->der, content, size);
    int failed = read_entries(s);
    if (failed) tio_serials_release(s);
    else *read = s;
    return failed;
}

void tio_serials_retain(tio_serials *s) { atomic_fetch_add(&s->owners, 1); }

void tio_serials_release(tio_serials *s) {
    if (!s || atomic_fetch_sub(&s->owners, 1) != 1) return;
    free(s->entries);
    free(s);
}

size_t tio_serials_count(const tio_serials *s) { return s->count; }

size_t tio_serials_find(const tio_serials *s, const uint8_t *serial, size_t size, const uint8_t **date) {
    element part;
    if (size < 3 || serial[1] != size - 2 || !s->count) return 0;
    const uint8_t **found = bsearch(&serial, s->entries, s->count, sizeof *s->entries, compare);
    if (!found) return 0;
    const uint8_t *at = *found, *end = s->der + s->size;
    next_element(&at, end, &part);
    *date = at;
    next_element(&at, end, &part);
    return (size_t)(at - *date);
}
