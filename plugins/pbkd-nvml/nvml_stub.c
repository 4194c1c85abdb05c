/* A stub of NVIDIA's library whose sensors the tests move: $NVML_STUB names a file with lines of
   KEY VALUE, where a negative value is an error code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long long look(const char *key, long long otherwise) {
    char name[64];
    long long value;
    FILE *file = fopen(getenv("NVML_STUB"), "r");
    if (!file) return otherwise;
    while (fscanf(file, "%63s %lld", name, &value) == 2)
        if (!strcmp(name, key)) otherwise = value;
    fclose(file);
    return otherwise;
}
static int look_up(const char *what, long index, long long otherwise, long long *value) {
    char key[64];
    snprintf(key, sizeof key, "%s%ld", what, index);
    *value = look(key, otherwise);
    return *value < 0 ? (int)-*value : 0;
}
static int note(const char *call) {
    char path[4096];
    FILE *file;
    snprintf(path, sizeof path, "%s.calls", getenv("NVML_STUB"));
    if ((file = fopen(path, "a"))) { fprintf(file, "%s\n", call); fclose(file); }
    return (int)-look(call, 0);
}
static long number(void *gpu) { return (long)gpu - 1; }

int nvmlInit_v2(void) { return note("init"); }
int nvmlInitWithFlags(unsigned flags) { (void)flags; return note("init"); }
int nvmlShutdown(void) { return note("shutdown"); }
const char *nvmlErrorString(int code) { (void)code; return "an error of the stub"; }
int nvmlDeviceGetCount_v2(unsigned *count) {
    long long value = look("count", 2);
    *count = (unsigned)value;
    return value < 0 ? (int)-value : 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **gpu) {
    long long ignored;
    *gpu = (void *)((long)index + 1);
    return look_up("handle", index, 0, &ignored);
}
int nvmlDeviceGetUUID(void *gpu, char *uuid, unsigned size) {
    char c = (char)('a' + number(gpu));
    snprintf(uuid, size, "GPU-%c%c%c%c0000-1111-2222-3333-444444444444", c, c, c, c);
    return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void *gpu, unsigned long long *millijoules) {
    long long value;
    int code = look_up("energy", number(gpu), -3, &value);
    *millijoules = (unsigned long long)value;
    return code;
}
int nvmlDeviceGetPowerUsage(void *gpu, unsigned *milliwatts) {
    long long value;
    int code = look_up("power", number(gpu), -3, &value);
    *milliwatts = (unsigned)value;
    return code;
}
