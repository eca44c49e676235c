// SPDX-License-Identifier: Apache-2.0
//
// The image is the executable file itself, in which the segment of variables is replaced by what it
// became while the interpreter was initialised. Nothing has to be relocated: the executable is
// linked at a fixed address, and libpython into it. All that is allocated meanwhile comes from a
// room at the end of that segment. The C library stays a shared one and starts afresh, wherever it
// is mapped; so nothing in the image may refer to it, to its heap or to a stack, and image_write
// checks that.
//
// The linker is told to have malloc and its relatives called by the names with __wrap_ (ld(1),
// --wrap).

#include "image.h"
#include "launcher.h"

#include <Python.h>

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOM_SIZE 0x1800000 // 24 MiB, of which pages that are not used do not exist
#define PAGE 4096
#define STRING_(text) #text
#define STRING(text) STRING_(text)

#if defined(__x86_64__)
#define COPY_RELOCATION R_X86_64_COPY
#elif defined(__aarch64__)
#define COPY_RELOCATION R_AARCH64_COPY
#else
#error "what is the copy relocation of this architecture?"
#endif

// After all other variables, so that the segment can end where the room is used up: linkers put
// sections that they do not know behind .bss.
__asm__(".pushsection .image_room,\"aw\",%nobits\n"
	".balign " STRING(PAGE) "\n"
				".hidden image_room\n"
				".global image_room\n"
				"image_room: .zero " STRING(ROOM_SIZE) "\n"
								       ".popsection\n");
extern char image_room[];
extern char data_start[]; // of the C runtime: variables that no relocation of the linker touches
extern char _end[];
extern ElfW(Dyn) _DYNAMIC[];

// volatile: it is read back from a copy of the memory
static volatile struct {
	bool recording, made;
	size_t used;
} image;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
void __real_free(void *pointer);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *pointer, size_t size);
void __wrap_free(void *pointer);

static bool in_room(const void *pointer)
{
	return (const char *)pointer >= image_room &&
	       (const char *)pointer < image_room + ROOM_SIZE;
}

// A new part of the room, all zeros; NULL when it is full. Nothing is ever given back.
static void *take(size_t size, size_t alignment)
{
	size_t start = (image.used + alignment - 1) & ~(alignment - 1);

	if (size > ROOM_SIZE || start > ROOM_SIZE - size)
		return NULL;
	image.used = start + size;
	return image_room + start;
}

// What is recorded has its size in front of it, for realloc.
#define HEADER 16

void *__wrap_malloc(size_t size)
{
	char *start;

	if (!image.recording)
		return __real_malloc(size);
	start = size <= ROOM_SIZE ? take(size + HEADER, HEADER) : NULL;
	if (!start)
		return NULL;
	memcpy(start, &size, sizeof(size));
	return start + HEADER;
}

void *__wrap_calloc(size_t count, size_t size)
{
	size_t total;

	if (!image.recording)
		return __real_calloc(count, size);
	return __builtin_mul_overflow(count, size, &total) ? NULL : __wrap_malloc(total);
}

void *__wrap_realloc(void *pointer, size_t size)
{
	size_t before;
	void *new;

	if (!pointer)
		return __wrap_malloc(size);
	if (!in_room(pointer))
		return __real_realloc(pointer, size);
	memcpy(&before, (char *)pointer - HEADER, sizeof(before));
	new = __wrap_malloc(size);
	if (new)
		memcpy(new, pointer, before < size ? before : size);
	return new;
}

void __wrap_free(void *pointer)
{
	if (!in_room(pointer))
		__real_free(pointer);
}

// Arenas of Python's own allocator; after the image has been made, too, they come from the room
// first.
static void *new_arena(void *context, size_t size)
{
	void *arena = take(size, PAGE);

	(void)context;
	if (arena || image.recording)
		return arena;
	arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return arena == MAP_FAILED ? NULL : arena;
}

static void free_arena(void *context, void *arena, size_t size)
{
	(void)context;
	if (!in_room(arena))
		munmap(arena, size);
}

bool image_is_made(void)
{
	return image.made;
}

// Where the heap of the C library would begin: addresses in it could not be told from small
// numbers. Without that place it goes where other mappings are.
static char *heap_guard(void)
{
	return (char *)(((uintptr_t)sbrk(0) + PAGE - 1) / PAGE * PAGE);
}

void image_record(void)
{
	PyObjectArenaAllocator arenas = {NULL, new_arena, free_arena};
	char *guard = heap_guard();

	if (mmap(guard, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
		 0) != guard)
		die("image: the heap cannot be kept away: %s", strerror(errno));
	PyObject_SetArenaAllocator(&arenas);
	image.recording = true;
}

// A private copy of the file of this executable.
static char *map_executable(size_t *size)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct stat status;
	char *data;

	if (fd < 0 || fstat(fd, &status) < 0)
		die("image: /proc/self/exe: %s", strerror(errno));
	*size = (size_t)status.st_size;
	data = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		die("image: /proc/self/exe: %s", strerror(errno));
	close(fd);
	return data;
}

// The segment of variables.
static ElfW(Phdr) * writable_segment(char *executable)
{
	ElfW(Ehdr) *header = (ElfW(Ehdr) *)(void *)executable;
	ElfW(Phdr) *segments = (ElfW(Phdr) *)(void *)(executable + header->e_phoff);
	ElfW(Phdr) *found = NULL;

	if (header->e_type != ET_EXEC)
		die("image: the executable is not linked at a fixed address");
	for (size_t i = 0; i < header->e_phnum; i++) {
		if (segments[i].p_type != PT_LOAD || !(segments[i].p_flags & PF_W))
			continue;
		if (found)
			die("image: the executable has several writable segments");
		found = &segments[i];
	}
	if (!found || found->p_vaddr + found->p_memsz != (uintptr_t)_end ||
	    image_room + ROOM_SIZE != _end)
		die("image: the room is not at the end of the variables");
	return found;
}

// Variables of the C library that the linker has put here; they are set whenever the program
// starts.
static void clear_copies(char *copy, uintptr_t start, size_t size)
{
	const ElfW(Rela) *table = NULL;
	size_t length = 0;

	for (const ElfW(Dyn) *entry = _DYNAMIC; entry->d_tag != DT_NULL; entry++) {
		if (entry->d_tag == DT_RELA)
			table = (const ElfW(Rela) *)entry->d_un.d_ptr;
		else if (entry->d_tag == DT_RELASZ)
			length = entry->d_un.d_val / sizeof(*table);
	}
	for (size_t i = 0; table && i < length; i++) {
		if (ELF64_R_TYPE(table[i].r_info) != COPY_RELOCATION)
			continue;
		if (table[i].r_offset >= start &&
		    table[i].r_offset + sizeof(void *) <= start + size)
			memset(copy + (table[i].r_offset - start), 0, sizeof(void *));
	}
}

// The interpreter knows its thread by what pthread_self says; launcher.c tells it anew.
static void forget_thread(char *copy, size_t size)
{
	const pthread_t self = pthread_self();

	for (size_t i = 0; i + sizeof(self) <= size; i += sizeof(self))
		if (!memcmp(copy + i, &self, sizeof(self)))
			memset(copy + i, 0, sizeof(self));
}

// Refuse what will lie elsewhere in the next process: addresses in any mapping but those of this
// executable.
static void check_addresses(const char *copy, uintptr_t start, size_t size)
{
	FILE *maps;
	uintptr_t from, to;
	char line[512];
	size_t found = 0;

	munmap(heap_guard(), PAGE);
	maps = fopen("/proc/self/maps", "re");
	if (!maps)
		die("image: /proc/self/maps: %s", strerror(errno));
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &from, &to) != 2 ||
		    from < (uintptr_t)_end)
			continue;
		for (size_t i = 0; i + sizeof(uintptr_t) <= size; i += sizeof(uintptr_t)) {
			uintptr_t word;

			memcpy(&word, copy + i, sizeof(word));
			if (word < from || word >= to)
				continue;
			fprintf(stderr, "image: %#" PRIxPTR " refers to %s", start + i, line);
			found++;
		}
	}
	fclose(maps);
	if (found)
		die("image: %zu addresses would not be valid in another process", found);
}

void image_write(const char *path)
{
	size_t file_size, offset, size, kept;
	char *executable = map_executable(&file_size);
	ElfW(Phdr) *segment = writable_segment(executable);
	ElfW(Ehdr) *header = (ElfW(Ehdr) *)(void *)executable;
	char *copy;
	int fd;

	image.recording = false;
	image.made = true;
	size = (uintptr_t)image_room + image.used - segment->p_vaddr;
	kept = (uintptr_t)data_start - segment->p_vaddr;
	copy = __real_calloc(1, size);
	if (!copy)
		die("image: out of memory");
	memcpy(copy, executable + segment->p_offset, segment->p_filesz);
	memcpy(copy + kept, data_start, size - kept);
	clear_copies(copy, segment->p_vaddr, size);
	forget_thread(copy + kept, size - kept);
	check_addresses(copy + kept, (uintptr_t)data_start, size - kept);

	offset = (file_size + PAGE - 1) / PAGE * PAGE + segment->p_vaddr % PAGE;
	segment->p_offset = offset;
	segment->p_filesz = size;
	// Sections would tell strip(1) to leave the new segment out.
	header->e_shoff = 0;
	header->e_shnum = header->e_shstrndx = 0;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (fd < 0 || pwrite(fd, executable, file_size, 0) != (ssize_t)file_size ||
	    pwrite(fd, copy, size, (off_t)offset) != (ssize_t)size || close(fd) < 0)
		die("image: %s: %s", path, strerror(errno));
}
