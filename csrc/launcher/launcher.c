// SPDX-License-Identifier: Apache-2.0
//
// The `pyrunc` executable. It finds the package from its own location, starts an isolated
// interpreter (no site, no environment variables, no signal handlers) in this process, and calls
// pyrunc.cli.main.main(arguments).
//
// The modules of the package are part of this executable (see freeze.py), so that no time is spent
// on finding, reading and checking files; what is not among them is imported from the package's
// directory as usual.
//
// Where the package was built with a static libpython, that is part of this executable, and so is
// the memory of an interpreter that has been initialised and has imported the modules of the
// commands that engines call (image.c): what is left to do at the start is to make it that of this
// process.
//
// Otherwise (PYRUNC_IMAGE is not defined) the shared libpython is loaded with dlopen, not linked,
// so that a host without it still has a runtime: then the interpreter is executed instead.

#include "launcher.h"
#include <Python.h>
#ifdef PYRUNC_IMAGE
#include "image.h"
#endif
// https://docs.python.org/3/c-api/init_config.html#multi-phase-initialization-private-provisional-api
PyAPI_FUNC(PyStatus) _Py_InitializeMain(void);

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/personality.h>
#include <unistd.h>

// Written by setup.py from the interpreter that builds the package.
#include "launcher_config.h"

struct frozen_module {
	const char *name;
	unsigned offset, size;
	bool package;
};

#if __has_include("frozen_modules.h")
#include "frozen_modules.h"
__asm__(".pushsection .rodata\n"
	".hidden frozen_code\n"
	".global frozen_code\n"
	".balign 16\n"
	"frozen_code: .incbin \"" FROZEN_BINARY "\"\n"
	".popsection\n");
extern const unsigned char frozen_code[];
#define FROZEN_COUNT (sizeof(frozen_modules) / sizeof(frozen_modules[0]))
#else
#define FROZEN_COUNT 0
static const struct frozen_module frozen_modules[1];
static const unsigned char frozen_code[1];
#endif

static const char *const stdlib_paths[] = {PYRUNC_STDLIB_PATHS NULL};
static const char *const site_paths[] = {PYRUNC_SITE_PATHS NULL};

#define MAX_PATHS 16

struct search_path {
	const char *entries[MAX_PATHS];
	size_t count;
	const char *package; // the one that holds the package
};

void die(const char *format, ...)
{
	va_list args;

	fputs("pyrunc: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void add_path(struct search_path *search, const char *entry)
{
	if (search->count < MAX_PATHS)
		search->entries[search->count++] = entry;
}

__attribute__((format(printf, 1, 2))) static char *format_path(const char *format, ...)
{
	va_list args;
	char *text;
	int length;

	va_start(args, format);
	length = vasprintf(&text, format, args);
	va_end(args);
	if (length < 0)
		die("out of memory");
	return text;
}

// The directory above the one that this executable is in (`/usr/local` for
// `/usr/local/bin/pyrunc`).
static char *own_prefix(void)
{
	static char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;

	if (length > 0) {
		path[length] = '\0';
	} else { // no /proc: the path that execve was given
		const char *name = (const char *)getauxval(AT_EXECFN);

		if (!name || !realpath(name, path))
			die("cannot find the path of this executable: /proc is not mounted");
	}
	for (int level = 0; level < 2; level++) {
		slash = strrchr(path, '/');
		if (!slash)
			die("unexpected path of this executable: %s", path);
		*slash = '\0';
	}
	return path;
}

static bool holds_package(const char *directory)
{
	char *module = format_path("%s/pyrunc/cli/main.py", directory);
	bool found = access(module, R_OK) == 0;

	free(module);
	return found;
}

// Whether packages outside `prefix` may be used: not in a virtual environment that is closed.
static bool uses_system_packages(const char *prefix)
{
	char *name = format_path("%s/pyvenv.cfg", prefix);
	FILE *file = fopen(name, "re");
	char line[256];
	bool result = !file;

	free(name);
	if (!file)
		return true;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, "include-system-site-packages", 28) && strstr(line, "true"))
			result = true;
	fclose(file);
	return result;
}

static void find_package(struct search_path *search)
{
	static const char *const layouts[] = {
	    "%s/lib/" PYRUNC_PYTHON_NAME "/site-packages",
	    "%s/lib64/" PYRUNC_PYTHON_NAME "/site-packages",
	    "%s/lib/" PYRUNC_PYTHON_NAME "/dist-packages",
	    "%s/lib/python3/dist-packages",
	};
	const char *prefix = own_prefix();
	char *directory = format_path("%s/lib/pyrunc", prefix);

	if (holds_package(
		directory)) { // `make install`: the package and all it needs in a tree of its own
		add_path(search, directory);
		search->package = directory;
		return;
	}
	free(directory);
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		directory = format_path(layouts[i], prefix);
#pragma GCC diagnostic pop
		if (!holds_package(directory)) {
			free(directory);
			continue;
		}
		add_path(search, directory);
		search->package = directory;
		if (uses_system_packages(prefix))
			for (size_t j = 0; site_paths[j]; j++)
				if (strcmp(site_paths[j], directory))
					add_path(search, site_paths[j]);
		return;
	}
	die("the package is not installed beside this executable: looked for %s/lib/pyrunc and "
	    "%s/lib/" PYRUNC_PYTHON_NAME "/{site,dist}-packages",
	    prefix, prefix);
}

// Standard descriptors that the caller has closed would become those of the first files that are
// opened, and what is printed would end up in them.
static void fill_standard_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != fd)
			_exit(1); // nothing can be said, and nothing done safely
}

static void ignore_signal(int signal)
{
	(void)signal;
}

// A write to a closed pipe must fail, not kill. A handler, unlike SIG_IGN, is not inherited by
// executed programs.
static void survive_sigpipe(void)
{
	struct sigaction action = {.sa_handler = ignore_signal, .sa_flags = SA_RESTART};
	struct sigaction present;

	if (sigaction(SIGPIPE, NULL, &present) == 0 && present.sa_handler == SIG_DFL)
		sigaction(SIGPIPE, &action, NULL);
}

// The functions of libpython that are used, found when it is loaded.
#define PYTHON_API(X)                                                                              \
	X(PyPreConfig_InitIsolatedConfig)                                                          \
	X(Py_PreInitialize)                                                                        \
	X(PyConfig_InitIsolatedConfig)                                                             \
	X(PyConfig_SetBytesString)                                                                 \
	X(PyConfig_SetBytesArgv)                                                                   \
	X(PyConfig_SetString)                                                                      \
	X(PyWideStringList_Append)                                                                 \
	X(Py_DecodeLocale)                                                                         \
	X(Py_InitializeFromConfig)                                                                 \
	X(_Py_InitializeMain)                                                                      \
	X(Py_ExitStatusException)                                                                  \
	X(PyStatus_Exception)                                                                      \
	X(PyImport_ImportModule)                                                                   \
	X(PyObject_CallMethod)                                                                     \
	X(PySys_GetObject)                                                                         \
	X(PyList_GetSlice)                                                                         \
	X(PyLong_AsLong)                                                                           \
	X(PyErr_Print)                                                                             \
	X(PyGC_Disable)

#define DECLARE(name) __typeof__(&(name)) name;
struct python {
	PYTHON_API(DECLARE)
	const struct _frozen **frozen; // PyImport_FrozenModules
};

#ifdef PYRUNC_IMAGE
static bool load_python(struct python *python)
{
#define RESOLVE(name) python->name = name;
	PYTHON_API(RESOLVE)
	python->frozen = &PyImport_FrozenModules;
	return true;
}
#else
static bool load_python(struct python *python)
{
	void *library = NULL;

	if (PYRUNC_LIBPYTHON[0] != '\0')
		library = dlopen(PYRUNC_LIBPYTHON, RTLD_NOW | RTLD_GLOBAL);
	if (!library)
		return false;
#define RESOLVE(name)                                                                              \
	python->name = (__typeof__(&(name)))dlsym(library, #name);                                 \
	if (!python->name)                                                                         \
		return false;
	PYTHON_API(RESOLVE)
	const unsigned long *version = dlsym(library, "Py_Version");

	// PyConfig and the bytecode are the same in all releases of one minor version.
	python->frozen = dlsym(library, "PyImport_FrozenModules");
	return python->frozen && version && *version >> 16 == PY_VERSION_HEX >> 16;
}
#endif

#define CHECK(expression)                                                                          \
	do {                                                                                       \
		PyStatus status_ = (expression);                                                   \
		if (py->PyStatus_Exception(status_))                                               \
			py->Py_ExitStatusException(status_);                                       \
	} while (0)

static void append(const struct python *py, PyWideStringList *list, const char *text)
{
	wchar_t *decoded = py->Py_DecodeLocale(text, NULL);

	if (!decoded)
		die("cannot decode the path %s", text);
	CHECK(py->PyWideStringList_Append(list, decoded));
}

static void initialise(const struct python *py, const struct search_path *search, int argc,
		       char **argv)
{
	PyPreConfig preconfig;
	PyConfig config;

	py->PyPreConfig_InitIsolatedConfig(&preconfig);
	preconfig.utf8_mode = 1; // arguments and paths are bytes: UTF-8 with surrogateescape
	CHECK(py->Py_PreInitialize(&preconfig));

	py->PyConfig_InitIsolatedConfig(&config);
	config.site_import = 0;
	config.install_signal_handlers = 0;
	config.pathconfig_warnings = 0;
	config.write_bytecode = 0;
	config.parse_argv = 0;
	// With every path given, nothing is searched for.
	CHECK(py->PyConfig_SetBytesString(&config, &config.executable, PYRUNC_PYTHON));
	CHECK(py->PyConfig_SetBytesString(&config, &config.base_executable, PYRUNC_PYTHON));
	CHECK(py->PyConfig_SetBytesString(&config, &config.prefix, PYRUNC_PREFIX));
	CHECK(py->PyConfig_SetBytesString(&config, &config.base_prefix, PYRUNC_PREFIX));
	CHECK(py->PyConfig_SetBytesString(&config, &config.exec_prefix, PYRUNC_EXEC_PREFIX));
	CHECK(py->PyConfig_SetBytesString(&config, &config.base_exec_prefix, PYRUNC_EXEC_PREFIX));
	CHECK(py->PyConfig_SetBytesString(&config, &config.stdlib_dir, stdlib_paths[0]));
	for (size_t i = 0; i < search->count; i++)
		append(py, &config.module_search_paths, search->entries[i]);
	config.module_search_paths_set = 1;
	config.use_frozen_modules = 1;
	append(py, &config.xoptions,
	       format_path("pyrunc=%s", search->package ? search->package : ""));
#ifdef PYRUNC_IMAGE
	// The image is the same whenever it is made. docs/security.md says what that means.
	config.use_hash_seed = 1;
	config.hash_seed = 1;
#endif
	CHECK(py->PyConfig_SetBytesArgv(&config, argc, argv));
	config._init_main = 0;
	CHECK(py->Py_InitializeFromConfig(&config));
	py->PyGC_Disable(); // most commands end before there is anything to collect
	CHECK(py->_Py_InitializeMain());
}

// Offer the modules of this executable to the interpreter.
static void offer_frozen_modules(const struct python *py)
{
	static struct _frozen table[FROZEN_COUNT + 1];

	if (FROZEN_COUNT == 0)
		return;
	for (size_t i = 0; i < FROZEN_COUNT; i++) {
		table[i].name = frozen_modules[i].name;
		table[i].code = frozen_code + frozen_modules[i].offset;
		table[i].size = (int)frozen_modules[i].size;
		table[i].is_package = frozen_modules[i].package;
	}
	*py->frozen = table;
}

#ifdef PYRUNC_IMAGE
// Standard error, while an image is made.
static int messages = -1;

__attribute__((noreturn)) static void fail(void)
{
	if (messages >= 0)
		dup2(messages, STDERR_FILENO);
	PyErr_Print();
	_exit(1);
}

static PyObject *checked(PyObject *object)
{
	if (!object)
		fail();
	return object;
}

static void add(PyObject *list, PyObject *item)
{
	if (PyList_Append(list, checked(item)) < 0)
		fail();
	Py_DECREF(item);
}

// When the package is built: write the executable that the installed one is to be.
__attribute__((noreturn)) static void make_image(const struct python *py, char *path)
{
	const struct search_path search = {
	    .entries = {stdlib_paths[0], stdlib_paths[1]},
	    .count = stdlib_paths[1] ? 2 : 1,
	};
	char *arguments[] = {"pyrunc", NULL};

	// The same image whenever and wherever it is made.
	if (!(personality(0xffffffff) & ADDR_NO_RANDOMIZE) && personality(ADDR_NO_RANDOMIZE) >= 0) {
		execl("/proc/self/exe", "pyrunc", "--make-image", path, NULL);
		die("/proc/self/exe: %s", strerror(errno));
	}
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	survive_sigpipe();
	clearenv();
	// the interpreter remembers how far its standard files have been written
	messages = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		close(fd);
		if (open("/dev/null", O_RDWR) != fd)
			_exit(1);
	}
	image_record();
	offer_frozen_modules(py);
	initialise(py, &search, 1, arguments);
	checked(PyImport_ImportModule("pyrunc_preload"));
	PyThreadState_Get()->native_thread_id = 0;
	dup2(messages, STDERR_FILENO);
	messages = -1;
	image_write(path);
	_exit(0);
}

// Be an interpreter as one that has just started, in a process that has nothing but its memory: as
// after a fork, but that arguments, environment and files are others.
static void resume(const struct search_path *search, int argc, char **argv)
{
	PyObject *arguments, *path, *environment, *ignored, *module;

	PyOS_AfterFork_Child();
	PyThreadState_Get()->thread_id = PyThread_get_thread_ident();
	arguments = checked(PyList_New(0));
	for (int i = 0; i < argc; i++)
		add(arguments, PyUnicode_DecodeFSDefault(argv[i]));
	path = checked(PyList_New(0));
	for (size_t i = 0; i < search->count; i++)
		add(path, PyUnicode_DecodeFSDefault(search->entries[i]));
	environment = checked(PyList_New(0));
	for (char **entry = environ; *entry; entry++)
		add(environment, PyBytes_FromString(*entry));
	ignored = checked(PyList_New(0));
	for (int number = 1; number < NSIG; number++) {
		struct sigaction action;

		if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
			add(ignored, PyLong_FromLong(number));
	}
	module = checked(PyImport_ImportModule("pyrunc_resume"));
	checked(PyObject_CallMethod(module, "resume", "NNsNN", arguments, path, search->package,
				    environment, ignored));
}
#endif

static int call_main(const struct python *py)
{
	PyObject *module = py->PyImport_ImportModule("pyrunc.cli.main");
	PyObject *arguments, *result;
	long code;

	if (!module)
		return -1;
	arguments = py->PyList_GetSlice(py->PySys_GetObject("argv"), 1, PY_SSIZE_T_MAX);
	if (!arguments)
		return -1;
	result = py->PyObject_CallMethod(module, "main", "O", arguments);
	if (!result)
		return -1;
	code = py->PyLong_AsLong(result);
	return code >= 0 && code <= 255 ? (int)code : -1;
}

__attribute__((noreturn)) static void
run_embedded(const struct python *py, const struct search_path *search, int argc, char **argv)
{
	int code;

#ifdef PYRUNC_IMAGE
	if (image_is_made()) {
		resume(search, argc, argv);
	} else
#endif
	{
		offer_frozen_modules(py);
		initialise(py, search, argc, argv);
	}
	code = call_main(py);
	if (code < 0) {
		py->PyErr_Print();
		code = 1;
	}
	// main() has flushed its output; tearing the interpreter down would only cost time.
	_exit(code);
}

__attribute__((noreturn)) static void run_executed(const struct search_path *search, int argc,
						   char **argv)
{
	static const char bootstrap[] = "import _signal, posix, sys\n"
					"_signal.signal(_signal.SIGPIPE, lambda *_: None)\n"
					"sys.path[:] = sys.argv.pop(1).split(':')\n"
					"from pyrunc.cli.main import main\n"
					"posix._exit(main(sys.argv[1:]))\n";
	const char *const fixed[] = {PYRUNC_PYTHON, "-I",   "-S", "-B",
				     "-X",	    "utf8", "-c", bootstrap};
	const size_t fixed_count = sizeof(fixed) / sizeof(fixed[0]);
	size_t count = 0, path_size = 1;
	const char **arguments = calloc(fixed_count + 2 + (size_t)argc, sizeof(*arguments));
	char *path, *end;

	for (size_t i = 0; i < search->count; i++)
		path_size += strlen(search->entries[i]) + 1;
	path = end = malloc(path_size);
	if (!arguments || !path)
		die("out of memory");
	for (size_t i = 0; i < search->count; i++) {
		if (i > 0)
			*end++ = ':';
		end = stpcpy(end, search->entries[i]);
	}
	for (size_t i = 0; i < fixed_count; i++)
		arguments[count++] = fixed[i];
	arguments[count++] = path;
	for (int i = 1; i < argc; i++)
		arguments[count++] = argv[i];
	execv(PYRUNC_PYTHON, (char *const *)arguments);
	die("cannot execute the interpreter %s: %s", PYRUNC_PYTHON, strerror(errno));
}

int main(int argc, char **argv)
{
	struct search_path search = {.count = 0};
	struct python python;

	fill_standard_descriptors();
#ifdef PYRUNC_IMAGE
	if (!image_is_made() && argc == 3 && !strcmp(argv[1], "--make-image") &&
	    load_python(&python))
		make_image(&python, argv[2]);
#endif
	for (size_t i = 0; stdlib_paths[i]; i++)
		add_path(&search, stdlib_paths[i]);
	find_package(&search);
	survive_sigpipe();
	if (load_python(&python))
		run_embedded(&python, &search, argc, argv);
	run_executed(&search, argc, argv);
}
