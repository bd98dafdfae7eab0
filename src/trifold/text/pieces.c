/* Ids of pieces of text that were met before. A piece ends between a character that is no white space and a single space
   before another such character, or a line's end.

   A table of open addresses; a new piece gets the next number, and its ids when the tokenizer has been asked. */

#include <stdint.h>
#include <string.h>

struct pieces {
  int64_t places, most, letters, ids; /* sizes: a power of two places, pieces, bytes of all pieces, ids of all pieces */
  int64_t count, used_letters, used_ids;
  int32_t *place;                /* [places] one more than the number of the piece there; 0: none */
  uint64_t *hash;                /* [most] */
  int64_t *start, *first;        /* [most] where its bytes begin, where its ids do */
  int32_t *length, *size;        /* [most] how many bytes, how many ids */
  uint8_t *letter;
  int32_t *id;
};

/* Whether a byte begins a character that is certainly no white space; all white space beyond ASCII begins with the others. */
static inline int dark(uint8_t byte) {
  return (byte > 0x20 && byte < 0x7f) || (byte >= 0xc3 && byte != 0xe1 && byte != 0xe2 && byte != 0xe3 && byte != 0xef);
}

/* The same of the character before `at`. */
static inline int dark_before(const uint8_t *text, int64_t from, int64_t at) {
  int64_t first = at - 1;
  while (first > from && at - first < 4 && (text[first] & 0xc0) == 0x80) first--;
  return dark(text[first]);
}

/* The end of the piece that begins at `at`. */
static inline int64_t end_of(const uint8_t *text, int64_t length, int64_t at) {
  for (int64_t next = at + 1; next < length; next++) {
    int space = text[next] == ' ' && next + 1 < length && dark(text[next + 1]);
    if ((space || text[next] == '\n') && dark_before(text, at, next)) return next;
  }
  return length;
}

static inline uint64_t hashed(const uint8_t *piece, int64_t length) {
  uint64_t sum = 0x9e3779b97f4a7c15u ^ (uint64_t)length, word;
  for (; length >= 8; piece += 8, length -= 8) {
    memcpy(&word, piece, 8);
    sum = (sum ^ word) * 0xff51afd7ed558ccdu;
    sum ^= sum >> 32;
  }
  word = 0;
  memcpy(&word, piece, length);
  sum = (sum ^ word) * 0xff51afd7ed558ccdu;
  return sum ^ (sum >> 29);
}

/* The number of a piece; without `add`, or with no room for it, -1 if it is new. */
static int64_t find(struct pieces *held, const uint8_t *piece, int64_t length, int add) {
  uint64_t hash = hashed(piece, length);
  int64_t at = hash & (held->places - 1), number;
  for (; held->place[at]; at = (at + 1) & (held->places - 1)) {
    number = held->place[at] - 1;
    if (held->hash[number] == hash && held->length[number] == length && !memcmp(held->letter + held->start[number], piece, length))
      return number;
  }
  if (!add || held->count == held->most || held->used_letters + length > held->letters) return -1;
  number = held->count++;
  held->place[at] = (int32_t)number + 1;
  held->hash[number] = hash;
  held->start[number] = held->used_letters;
  held->length[number] = (int32_t)length;
  memcpy(held->letter + held->used_letters, piece, length);
  held->used_letters += length;
  return number;
}

/* Adds the new pieces of a text; 0 where one of them is longer than `longest`, -1 where there is no room, else 1. */
int64_t add_pieces(struct pieces *held, const uint8_t *text, int64_t length, int64_t longest) {
  for (int64_t at = 0, end; at < length; at = end) {
    end = end_of(text, length, at);
    if (end - at > longest) return 0;
    if (find(held, text + at, end - at, 1) < 0) return -1;
  }
  return 1;
}

/* The ids of a text whose pieces all have some; how many. Room for them: `most`. */
int64_t write_ids(struct pieces *held, const uint8_t *text, int64_t length, int64_t most, int64_t *ids) {
  int64_t count = 0;
  for (int64_t at = 0, end; at < length; at = end) {
    end = end_of(text, length, at);
    int64_t number = find(held, text + at, end - at, 0);
    if (number < 0 || count + held->size[number] > most) return -1;
    const int32_t *from = held->id + held->first[number];
    for (int64_t i = 0; i < held->size[number]; i++) ids[count++] = from[i];
  }
  return count;
}
