// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors
//
// The only program of a machine that judges modules. It adds certificates to the trusted keys of the kernel, loads
// every module, prints a line with the result of the kernel, unloads the module, and switches the machine off.
//
// /key-* are certificates, /helper-* modules that the kernel needs, /name the name of the module, /nonce the first word
// of every line. /content is the module without a signature. /variants has a record for each file: the bytes that it
// has from the beginning of /content, the number of its other bytes (both 32 bits, in the order of this processor), and
// these bytes.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEYRING ".secondary_trusted_keys"
#define READ_AND_CLEAR_LOG 4

struct data {
	char *bytes;
	size_t size;
};

static char nonce[65];

static void die(const char *what)
{
	printf("%s failed %s: %s\n", nonce, what, strerror(errno));
	fflush(stdout);
	reboot(RB_AUTOBOOT);
	_exit(1);
}

static struct data read_file(const char *path)
{
	struct data data = { NULL, 0 };
	struct stat status;
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t count;

	if (file < 0 || fstat(file, &status))
		die(path);
	data.bytes = malloc(status.st_size + 1);
	if (!data.bytes)
		die(path);
	while ((count = read(file, data.bytes + data.size, status.st_size - data.size)) > 0)
		data.size += count;
	data.bytes[data.size] = '\0';
	close(file);
	return data;
}

// Returns the number of a keyring of the kernel, from the list of all keys.
static long find_keyring(const char *name)
{
	char line[512];
	FILE *keys = fopen("/proc/keys", "re");
	long id = 0;

	while (keys && !id && fgets(line, sizeof(line), keys))
		if (strstr(line, " keyring ") && strstr(line, name))
			id = strtol(line, NULL, 16);
	if (keys)
		fclose(keys);
	return id;
}

// A key of a kind that the kernel does not know is left out.
static void add_keys(void)
{
	long keyring = find_keyring(KEYRING);
	glob_t found;

	if (!keyring)
		die(KEYRING);
	if (glob("/key-*", 0, NULL, &found))
		return;
	for (size_t index = 0; index < found.gl_pathc; index++) {
		struct data key = read_file(found.gl_pathv[index]);

		if (syscall(SYS_add_key, "asymmetric", NULL, key.bytes, key.size, keyring) < 0 && errno != ENOPKG)
			die(found.gl_pathv[index]);
	}
}

static void load_helpers(void)
{
	glob_t found;

	if (glob("/helper-*", 0, NULL, &found))
		return;
	for (size_t index = 0; index < found.gl_pathc; index++) {
		struct data module = read_file(found.gl_pathv[index]);

		if (syscall(SYS_init_module, module.bytes, module.size, ""))
			die(found.gl_pathv[index]);
		free(module.bytes);
	}
}

// Prints what the kernel has logged since the last call, in one line.
static void print_log(void)
{
	char log[1024];
	int size = klogctl(READ_AND_CLEAR_LOG, log, sizeof(log) - 1);

	for (int index = 0; index < size; index++)
		putchar(log[index] >= ' ' && log[index] <= '~' ? log[index] : ' ');
}

static void judge(unsigned int number, const char *name, struct data module)
{
	char path[256], taint[64] = "-";
	int result = syscall(SYS_init_module, module.bytes, module.size, "") ? errno : 0;

	if (!result) {
		FILE *file;

		snprintf(path, sizeof(path), "/sys/module/%s/taint", name);
		file = fopen(path, "re");
		if (!file || (!fgets(taint, sizeof(taint), file) && ferror(file)))
			die(path);
		fclose(file);
		taint[strcspn(taint, "\n")] = '\0';
		if (syscall(SYS_delete_module, name, O_NONBLOCK))
			die("unloading");
	}
	printf("%s %u %d [%s] ", nonce, number, result, taint);
	print_log();
	putchar('\n');
}

int main(void)
{
	struct data content, variants, name, module;
	unsigned int number = 0;
	size_t at = 0;

	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	name = read_file("/nonce");
	strncpy(nonce, name.bytes, sizeof(nonce) - 1);
	name = read_file("/name");
	content = read_file("/content");
	variants = read_file("/variants");
	load_helpers();
	add_keys();
	klogctl(READ_AND_CLEAR_LOG, (char[1]){ 0 }, 1);
	while (at < variants.size) {
		uint32_t sizes[2];

		memcpy(sizes, variants.bytes + at, sizeof(sizes));
		at += sizeof(sizes);
		module.size = (size_t)sizes[0] + sizes[1];
		module.bytes = malloc(module.size + 1);
		if (!module.bytes)
			die("memory");
		memcpy(module.bytes, content.bytes, sizes[0]);
		memcpy(module.bytes + sizes[0], variants.bytes + at, sizes[1]);
		at += sizes[1];
		judge(number++, name.bytes, module);
		free(module.bytes);
	}
	printf("%s end %u\n", nonce, number);
	fflush(stdout);
	reboot(RB_AUTOBOOT);
	return 1;
}
