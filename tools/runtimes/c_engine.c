/* Runs the exported files through ONNX Runtime's C API: c_engine LIBRARY CASES_FOLDER OUT_FOLDER.
 *
 * cases.txt has one instruction a line, its words apart by tabs:
 *   model ID FILE    output NAME    run ID    feed NAME TYPE FILE DIM...    go
 */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ort_c.h"

enum { MOST = 8, WORDS = 16, LINE = 4096, PATHS = 3 * LINE };

static const OrtApi *api;
static char failure[LINE];

/* Keep the message of a call that failed; true when it did not. */
static int fine(OrtStatus *status) {
    if (!status) return 1;
    if (!*failure) snprintf(failure, sizeof failure, "%s", api->GetErrorMessage(status));
    api->ReleaseStatus(status);
    return 0;
}

static void die(const char *what, const char *which) {
    fprintf(stderr, "%s: %s\n", what, which);
    exit(2);
}

static void *read_whole(const char *folder, const char *name, size_t *bytes) {
    char path[PATHS];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file) die("cannot read", path);
    fseek(file, 0, SEEK_END);
    *bytes = (size_t)ftell(file);
    rewind(file);
    void *data = malloc(*bytes + 1);
    if (!data || fread(data, 1, *bytes, file) != *bytes) die("cannot read", path);
    fclose(file);
    return data;
}

static void write_output(OrtValue *value, const char *folder, const char *run, int number) {
    OrtTensorInfo *info = NULL;
    void *data = NULL;
    size_t count = 0;
    int type = 0;
    if (fine(api->GetTensorTypeAndShape(value, &info)) && fine(api->GetTensorElementType(info, &type)) &&
        fine(api->GetTensorShapeElementCount(info, &count)) && fine(api->GetTensorMutableData(value, &data))) {
        char path[PATHS];
        snprintf(path, sizeof path, "%s/%s.%d.bin", folder, run, number);
        FILE *file = fopen(path, "wb");
        if (type != ORT_FLOAT || !file || fwrite(data, sizeof(float), count, file) != count) die("cannot write", path);
        fclose(file);
    }
    api->ReleaseTensorInfo(info);
}

static int type_of(const char *word) {
    return !strcmp(word, "float32") ? ORT_FLOAT : !strcmp(word, "uint8") ? ORT_UINT8 : ORT_INT64;
}

static void print_json_string(FILE *file, const char *text) {
    fputc('"', file);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', file);
        fputc((unsigned char)*text < ' ' ? ' ' : *text, file);
    }
    fputc('"', file);
}

static void run_cases(OrtEnv *env, const OrtSessionOptions *options, const char *folder, const char *out, FILE *result) {
    char line[LINE], path[PATHS], id[LINE] = "", run[LINE] = "";
    char *outputs[MOST], *names[MOST];
    void *buffers[MOST];
    OrtValue *inputs[MOST], *found[MOST];
    int output_count = 0, input_count = 0, failed = 0;
    OrtSession *session = NULL;
    OrtMemoryInfo *memory = NULL;
    if (!fine(api->CreateCpuMemoryInfo(ORT_DEVICE_ALLOCATOR, ORT_DEFAULT_MEMORY, &memory))) die("memory", failure);
    snprintf(path, sizeof path, "%s/cases.txt", folder);
    FILE *cases = fopen(path, "r");
    if (!cases) die("cannot read", path);
    while (fgets(line, sizeof line, cases)) {
        char *words[WORDS], *rest = NULL;
        int count = 0;
        for (char *w = strtok_r(line, "\t\n", &rest); w && count < WORDS; w = strtok_r(NULL, "\t\n", &rest)) words[count++] = w;
        if (!count) continue;
        if (!strcmp(words[0], "model")) {
            if (session) api->ReleaseSession(session);
            session = NULL;
            while (output_count) free(outputs[--output_count]);
            *failure = 0;
            snprintf(id, sizeof id, "%s", words[1]);
            snprintf(path, sizeof path, "%s/%s", folder, words[2]);
            fine(api->CreateSession(env, path, options, &session));
        } else if (!strcmp(words[0], "output") && output_count < MOST) {
            outputs[output_count++] = strdup(words[1]);
        } else if (!strcmp(words[0], "run")) {
            snprintf(run, sizeof run, "%s", words[1]);
        } else if (!strcmp(words[0], "feed") && input_count < MOST) {
            int64_t shape[WORDS];
            size_t bytes = 0;
            for (int i = 4; i < count; i++) shape[i - 4] = atoll(words[i]);
            names[input_count] = strdup(words[1]);
            buffers[input_count] = read_whole(folder, words[3], &bytes);
            inputs[input_count] = NULL;
            fine(api->CreateTensorWithDataAsOrtValue(memory, buffers[input_count], bytes, shape, (size_t)(count - 4),
                                                     type_of(words[2]), &inputs[input_count]));
            input_count++;
        } else if (!strcmp(words[0], "go")) {
            memset(found, 0, sizeof found);
            if (session && !*failure &&
                fine(api->Run(session, NULL, (const char *const *)names, (const OrtValue *const *)inputs, (size_t)input_count,
                              (const char *const *)outputs, (size_t)output_count, found)))
                for (int i = 0; i < output_count; i++) write_output(found[i], out, run, i);
            for (int i = 0; i < output_count; i++)
                if (found[i]) api->ReleaseValue(found[i]);
            while (input_count) {
                input_count--;
                if (inputs[input_count]) api->ReleaseValue(inputs[input_count]);
                free(buffers[input_count]);
                free(names[input_count]);
            }
            if (*failure && *id) {
                fputs(failed++ ? ", " : "", result);
                print_json_string(result, id);
                fputs(": ", result);
                print_json_string(result, failure);
                *id = 0;
            }
        }
    }
    fclose(cases);
    if (session) api->ReleaseSession(session);
    while (output_count) free(outputs[--output_count]);
    api->ReleaseMemoryInfo(memory);
}

int main(int argc, char **argv) {
    if (argc != 4) die("usage", "c_engine LIBRARY CASES_FOLDER OUT_FOLDER");
    void *library = dlopen(argv[1], RTLD_NOW);
    if (!library) die("cannot load", dlerror());
    const OrtApiBase *(*get_base)(void);
    *(void **)&get_base = dlsym(library, "OrtGetApiBase");
    if (!get_base) die("cannot load", dlerror());
    const OrtApiBase *base = get_base();
    api = base->GetApi(ORT_VERSION);
    if (!api) die("too old", base->GetVersionString());
    OrtEnv *env = NULL;
    OrtSessionOptions *options = NULL;
    if (!fine(api->CreateEnv(ORT_WARNINGS, "cases", &env)) || !fine(api->CreateSessionOptions(&options)) ||
        !fine(api->SetIntraOpNumThreads(options, 1)))
        die("cannot start", failure);
    char path[PATHS];
    snprintf(path, sizeof path, "%s/result.json", argv[3]);
    FILE *result = fopen(path, "w");
    if (!result) die("cannot write", path);
    fprintf(result, "{\"version\": \"%s\", \"failures\": {", base->GetVersionString());
    run_cases(env, options, argv[2], argv[3], result);
    fputs("}}\n", result);
    api->ReleaseSessionOptions(options);
    api->ReleaseEnv(env);
    return fclose(result) ? 2 : 0;
}
