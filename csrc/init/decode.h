/* Strict reading of encoded plans: every length is checked against what is left, every text must
 * end in NUL and contain no other, and lists are bounded by the record that holds them. */
#ifndef PYRUNC_DECODE_H
#define PYRUNC_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct arena {
	char *base;
	size_t used, size;
};

struct reader {
	const unsigned char *at, *end;
	struct arena *arena; /* where lists are laid out; taken back after each operation */
};

struct blob {
	const unsigned char *data;
	uint32_t size;
};

struct texts {
	char **items; /* NULL at the end, as execve wants it, with room for one more before it */
	uint32_t count;
};

struct u32s {
	uint32_t *items;
	uint32_t count;
};

static inline bool read_raw(struct reader *in, void *out, size_t size)
{
	if ((size_t)(in->end - in->at) < size)
		return false;
	memcpy(out, in->at, size);
	in->at += size;
	return true;
}

static inline bool read_u32(struct reader *in, uint32_t *out)
{
	return read_raw(in, out, sizeof *out);
}

static inline bool read_i32(struct reader *in, int32_t *out)
{
	return read_raw(in, out, sizeof *out);
}

static inline bool read_u64(struct reader *in, uint64_t *out)
{
	return read_raw(in, out, sizeof *out);
}

static inline bool read_blob(struct reader *in, struct blob *out)
{
	uint32_t size;

	if (!read_u32(in, &size) || (size_t)(in->end - in->at) < size)
		return false;
	out->data = in->at;
	out->size = size;
	in->at += size;
	return true;
}

static inline bool read_text(struct reader *in, const char **out)
{
	uint32_t size;

	if (!read_u32(in, &size) || (size_t)(in->end - in->at) < (size_t)size + 1)
		return false;
	if (memchr(in->at, '\0', (size_t)size + 1) != in->at + size)
		return false;
	*out = (const char *)in->at;
	in->at += (size_t)size + 1;
	return true;
}

static inline void *arena_take(struct arena *arena, size_t count, size_t size)
{
	size_t start = (arena->used + 15) & ~(size_t)15;

	if (start > arena->size || count > (arena->size - start) / size)
		return NULL;
	arena->used = start + count * size;
	return arena->base + start;
}

static inline bool read_texts(struct reader *in, struct texts *out)
{
	uint32_t count;

	/* each text takes five bytes at least: a larger count is a lie */
	if (!read_u32(in, &count) || count > (size_t)(in->end - in->at) / 5)
		return false;
	out->items = arena_take(in->arena, (size_t)count + 2, sizeof *out->items);
	if (!out->items)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		const char *text;

		if (!read_text(in, &text))
			return false;
		out->items[i] = (char *)(uintptr_t)text;
	}
	out->items[count] = NULL;
	out->count = count;
	return true;
}

static inline bool read_u32s(struct reader *in, struct u32s *out)
{
	uint32_t count;

	if (!read_u32(in, &count) || count > (size_t)(in->end - in->at) / 4)
		return false;
	out->items = arena_take(in->arena, (size_t)count + 1, sizeof *out->items);
	if (!out->items)
		return false;
	memcpy(out->items, in->at, (size_t)count * 4);
	in->at += (size_t)count * 4;
	out->count = count;
	return true;
}

static inline bool read_end(const struct reader *in)
{
	return in->at == in->end;
}

#endif
