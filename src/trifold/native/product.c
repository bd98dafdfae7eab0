/* Products of bfloat16 matrices by the processor's matrix unit (AMX), with what comes before and after them.

   made [rows][columns] = left [rows][depth] * right [depth][columns]. Numbers are multiplied as bfloat16, added up in float32
   and rounded once. Matrices are cut into blocks of 32 x 32. A thread lays a group of panels (32 columns of the right side) so
   that the unit can read it, as much of it as its second cache holds, and takes strips (32 rows of the left side) past them.
   What a block's sums still need, and fetching what is multiplied next, goes on while the unit works on another block. Each
   block is the work of one thread and its sums are added up in one order, so results do not depend on how many there are. */

#include <stdint.h>

#ifdef __AMX_BF16__
#include <omp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "blocks.h"

#define CACHED 400 /* blocks of the right side in the second cache */
#define STRETCH 32 /* of these, how many lie behind each other at most */
#define PART 16    /* blocks of the left side in the first cache */

/* What is multiplied; each matrix without gaps. A turned one lies the other way: left [depth][rows], right [columns][depth],
   made [columns][rows]. What may be missing is NULL or 0. */
struct work {
  int64_t rows, columns, depth;
  int64_t left_turned, right_turned, made_turned;
  const half *left, *right;
  half *made;
  float *total;       /* instead of `made`: what the product is added to */
  const half *bias;   /* [columns], added */
  const half *more;   /* as `made`, added */
  const half *slope;  /* as `made`; the product is multiplied by an activation's derivative there */
  int64_t left_bend, right_bend, slope_bend; /* what is done to the sides before, and which activation slope is of (`activations.h`) */
  float *left_sums, *right_sums; /* [rows] of a turned left, [columns] of a right that is not: to which sums over depth are added */
};

/* Panels `base` to `base + panels` over a stretch of depth: [panel][block]. */
static void lay_panels(const struct work *work, int64_t base, int64_t panels, int64_t start, int64_t stretch, half *to) {
  if (work->right_turned) {
    for (int64_t panel = base; panel < base + panels; panel++)
      for (int64_t k = start; k < start + stretch; k++, to += BLOCK) {
        const half *from = work->right + (panel * work->depth + k) * SIDE;
        for (int64_t i = SIDE; i < 2 * SIDE; i++) _mm_prefetch(from + i * work->depth, _MM_HINT_T0);
        lay_right_turned(from, work->depth, work->columns - panel * SIDE, work->depth - k * SIDE, to);
      }
    return;
  }
  for (int64_t i = 0; i < stretch * 16; i++) { /* two rows after the other, as they lie in memory */
    int64_t at = start * SIDE + 2 * i, width = work->columns;
    const half *from = work->right + at * width + base * SIDE;
    half *here = to + i / 16 * BLOCK + i % 16 * SIDE;
    for (int64_t panel = 0; panel < panels; panel++, from += SIDE, here += stretch * BLOCK) {
      __mmask32 mask = first(width - (base + panel) * SIDE);
      __m512i above = row_of(from, at < work->depth, mask, work->right_bend);
      __m512i below = row_of(from + width, at + 1 < work->depth, mask, work->right_bend);
      _mm_prefetch(from + 8 * width, _MM_HINT_T0);
      _mm_prefetch(from + 9 * width, _MM_HINT_T0);
      _mm512_store_si512(here, pair(above, below, 0));
      _mm512_store_si512(here + TILE, pair(above, below, 1));
    }
  }
}

/* Where a block of the left side begins. */
INLINE const half *left_of(const struct work *work, int64_t strip, int64_t k) {
  return work->left + (work->left_turned ? k * work->rows + strip : strip * work->depth + k) * SIDE;
}

static void lay_strip(const struct work *work, int64_t strip, int64_t start, int64_t deep, half *to) {
  for (int64_t k = start; k < start + deep; k++, to += BLOCK) {
    int64_t rows = work->rows - strip * SIDE, depth = work->depth - k * SIDE;
    if (work->left_turned)
      lay_left_turned(left_of(work, strip, k), work->rows, rows, depth, work->left_bend, to);
    else
      lay_left(left_of(work, strip, k), work->depth, rows, depth, work->left_bend, to);
  }
}

/* What goes on beside the product of two blocks: the block before it is finished, and what comes next is fetched. */
struct aside {
  const struct work *work;
  const float *sum; /* of the block before; its first number's place, its rows, and which of their numbers are there */
  int64_t place, rows;
  __mmask32 mask;
  __m512 low, high; /* bias */
  const half *next; /* on the left side; some rows of each of its blocks */
  int64_t next_rows, next_block;
  const half *made, *beside; /* where this block will be written, and what will be read beside it */
};

INLINE void finish_row(const struct aside *aside, int64_t row) {
  const struct work *work = aside->work;
  const float *from = aside->sum + row_at(row);
  int64_t at = aside->place + row * (work->made_turned ? work->rows : work->columns);
  __m512 low = _mm512_load_ps(from), high = _mm512_load_ps(from + TILE / 2);
  if (work->total) {
    float *to = work->total + at;
    __mmask16 near = (__mmask16)aside->mask, far = (__mmask16)(aside->mask >> 16);
    _mm512_mask_storeu_ps(to, near, _mm512_add_ps(low, _mm512_maskz_loadu_ps(near, to)));
    _mm512_mask_storeu_ps(to + 16, far, _mm512_add_ps(high, _mm512_maskz_loadu_ps(far, to + 16)));
    return;
  }
  low = _mm512_add_ps(low, aside->low), high = _mm512_add_ps(high, aside->high);
  if (work->slope) {
    __m512i x = _mm512_maskz_loadu_epi16(aside->mask, work->slope + at);
    low = _mm512_mul_ps(low, slope_of(work->slope_bend, widen_low(x)));
    high = _mm512_mul_ps(high, slope_of(work->slope_bend, widen_high(x)));
  }
  if (work->more) {
    __m512i x = _mm512_maskz_loadu_epi16(aside->mask, work->more + at);
    low = _mm512_add_ps(low, widen_low(x)), high = _mm512_add_ps(high, widen_high(x));
  }
  _mm512_mask_storeu_epi16(work->made + at, aside->mask, narrow(low, high));
}

/* sum = or, with `more`, += left * right, over so many blocks of depth; sum is four tiles. */
static void add_blocks(int64_t deep, const half *left, const half *right, float *sum, int more, const struct aside *aside) {
  const struct work *work = aside->work;
  int64_t width = work->left_turned ? work->rows : work->depth, step = work->made_turned ? work->rows : work->columns;
  int64_t each = over(aside->rows, deep), places = over(SIDE, deep), row = 0;
  if (more)
    load_sums(sum);
  else
    clear_sums();
  for (int64_t k = 0; k < deep; k++, left += BLOCK, right += BLOCK) {
    add_block(left, right);
    for (int64_t i = 0; i < aside->next_rows; i++) _mm_prefetch(aside->next + k * aside->next_block + i * width, _MM_HINT_T1);
    for (int64_t i = k * places; aside->made && i < (k + 1) * places; i++) __builtin_prefetch(aside->made + i * step, 1, 2);
    for (int64_t i = k * places; aside->beside && i < (k + 1) * places; i++) _mm_prefetch(aside->beside + i * step, _MM_HINT_T1);
    for (int64_t stop = least(row + each, aside->rows); row < stop; row++) finish_row(aside, row);
  }
  store_sums(sum);
}

/* total += the sums over depth of a side, `count` of which are there: its product with ones. */
static void add_sums(int64_t deep, const half *blocks, int is_left, int64_t count, float *total) {
  half ones[TILE] __attribute__((aligned(64)));
  float sum[BLOCK] __attribute__((aligned(64)));
  for (int i = 0; i < TILE; i++) ones[i] = 0x3f80;
  _tile_loadd(6, ones, 64);
  clear_sums();
  for (int64_t k = 0; k < deep; k++, blocks += BLOCK) {
    _tile_loadd(4, blocks, 64);
    _tile_loadd(5, blocks + TILE, 64);
    if (is_left) {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 5, 6);
    } else {
      _tile_dpbf16ps(0, 6, 4);
      _tile_dpbf16ps(1, 6, 5);
    }
  }
  store_sums(sum);
  for (int64_t i = 0; i < least(count, SIDE); i++) total[i] += sum[i / 16 * (TILE / 2) + i % 16 * (is_left ? 16 : 1)];
}

/* How the work is cut: into strips, panels and depth, in blocks; into `down` times `across` threads; and a thread's share as said
   above. right, left, sums: its memory, in float32 numbers. */
struct plan {
  int64_t strips, panels, deep, down, across, group, stretch, stretches, part, right, left, sums;
};

static struct plan cut(const struct work *work, int64_t threads) {
  struct plan plan = {.strips = over(work->rows, SIDE), .panels = over(work->columns, SIDE), .deep = over(work->depth, SIDE)};
  int64_t cost = INT64_MAX, panels, strips;
  for (int64_t down = 1; down <= threads; down++) {
    strips = over(plan.strips, down), panels = over(plan.panels, threads / down);
    int64_t here = 2 * strips * panels + 3 * (strips + panels); /* laying a block out takes half as long again as multiplying it */
    if (here < cost) cost = here, plan.down = down, plan.across = threads / down;
  }
  strips = over(plan.strips, plan.down), panels = over(plan.panels, plan.across);
  int64_t room = CACHED / panels > PART ? CACHED / panels : PART;
  plan.stretches = over(plan.deep, least(room, STRETCH));
  plan.stretch = over(plan.deep, plan.stretches);
  plan.part = over(plan.stretch, over(plan.stretch, PART));
  plan.group = over(panels, over(panels, CACHED / plan.stretch));
  plan.right = plan.stretch * plan.group * BLOCK / 2, plan.left = plan.part * BLOCK / 2;
  plan.sums = plan.group * (plan.stretches > 1 ? strips : 1) * BLOCK;
  return plan;
}

/* One strip past a group of panels, over a stretch of depth. */
static void take_strip(const struct plan *plan, int64_t strip, int64_t base, int64_t panels, int64_t start, int64_t stretch,
                       int sums_left, const half *right, half *left, float *sums, struct aside *aside) {
  const struct work *work = aside->work;
  for (int64_t at = 0; at < stretch; at += plan->part) {
    int64_t deep = least(plan->part, stretch - at), each = over(SIDE, panels);
    int last = start + at + deep == plan->deep;
    lay_strip(work, strip, start + at, deep, left);
    if (sums_left) add_sums(deep, left, 1, work->rows - strip * SIDE, work->left_sums + strip * SIDE);
    aside->next_block = (work->left_turned ? work->rows : 1) * SIDE;
    for (int64_t panel = 0; panel < panels; panel++) {
      float *sum = sums + panel * BLOCK;
      int64_t x = (base + panel) * SIDE, y = strip * SIDE, turned = work->made_turned;
      int64_t place = turned ? x * work->rows + y : y * work->columns + x;
      aside->next = left_of(work, strip + 1, start + at) + panel * each * (work->left_turned ? work->rows : work->depth);
      aside->next_rows = least(each, SIDE - panel * each);
      aside->made = last && work->made ? work->made + place : NULL;
      aside->beside = last && work->slope ? work->slope + place : last && work->more ? work->more + place : NULL;
      add_blocks(deep, left, right + (panel * stretch + at) * BLOCK, sum, start + at > 0, aside);
      aside->rows = 0;
      if (!last) continue;
      if (turned) turn_sums(sum);
      int64_t across = work->columns - x, high = work->rows - y;
      __m512i bias = work->bias ? _mm512_maskz_loadu_epi16(first(across), work->bias + x) : _mm512_setzero_si512();
      aside->sum = sum, aside->place = place, aside->low = widen_low(bias), aside->high = widen_high(bias);
      aside->rows = least(SIDE, turned ? across : high), aside->mask = first(turned ? high : across);
    }
  }
}

/* The share of one thread: strips `top` to `bottom`, panels `from` to `to`. */
static void take_share(const struct work *work, const struct plan *plan, int64_t thread, float *room) {
  begin_tiles();
  int64_t y = thread / plan->across, x = thread % plan->across;
  int64_t top = plan->strips * y / plan->down, bottom = plan->strips * (y + 1) / plan->down;
  int64_t from = plan->panels * x / plan->across, to = plan->panels * (x + 1) / plan->across;
  half *right = (half *)room, *left = (half *)(room + plan->right);
  float *sums = room + plan->right + plan->left;
  for (int64_t base = from; base < to; base += plan->group)
    for (int64_t start = 0; start < plan->deep; start += plan->stretch) {
      int64_t panels = least(plan->group, to - base), stretch = least(plan->stretch, plan->deep - start);
      struct aside aside = {.work = work};
      lay_panels(work, base, panels, start, stretch, right);
      for (int64_t panel = 0; work->right_sums && y == 0 && panel < panels; panel++) {
        int64_t column = (base + panel) * SIDE;
        add_sums(stretch, right + panel * stretch * BLOCK, 0, work->columns - column, work->right_sums + column);
      }
      for (int64_t strip = top; strip < bottom; strip++)
        take_strip(plan, strip, base, panels, start, stretch, work->left_sums && base == 0, right, left,
                   sums + (plan->stretches > 1 ? (strip - top) * plan->group * BLOCK : 0), &aside);
      for (int64_t row = 0; row < aside.rows; row++) finish_row(&aside, row);
    }
  _tile_release();
}

/* How much memory the work needs, in float32 numbers. */
int64_t product_room(const struct work *work) {
  int64_t threads = omp_get_max_threads();
  struct plan plan = cut(work, threads);
  return plan.down * plan.across * (plan.right + plan.left + plan.sums);
}

void product(const struct work *work, float *room) {
  struct plan plan = cut(work, omp_get_max_threads());
#pragma omp parallel for schedule(static, 1)
  for (int64_t thread = 0; thread < plan.down * plan.across; thread++)
    take_share(work, &plan, thread, room + thread * (plan.right + plan.left + plan.sums));
}

/* Whether there is such a unit, and the system lets this process use it. */
int64_t can_multiply(void) { return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */) == 0; }

#include "heads.c"
#else
int64_t can_multiply(void) { return 0; }
#endif
