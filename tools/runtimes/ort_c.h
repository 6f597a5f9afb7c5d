/* The part of ONNX Runtime's C API that c_engine.c uses.
 *
 * No package of the registries carries onnxruntime_c_api.h; a program of your own includes that. The API is a table
 * of functions whose places never change (ONNX Runtime promises it for every release); places that are not used here
 * are left unnamed. Place 100, checked below, is the last one but one of the table's first version.
 */
#ifndef ORT_C_H
#define ORT_C_H

#include <stddef.h>
#include <stdint.h>

typedef struct OrtEnv OrtEnv;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtStatus OrtStatus; /* NULL: all is well */
typedef struct OrtTensorInfo OrtTensorInfo;
typedef struct OrtValue OrtValue;

enum { ORT_WARNINGS = 2, ORT_DEVICE_ALLOCATOR = 0, ORT_DEFAULT_MEMORY = 0, ORT_VERSION = 14 };
enum { ORT_FLOAT = 1, ORT_UINT8 = 2, ORT_INT64 = 7 };

typedef struct OrtApi {
    void *unused0[2];
    const char *(*GetErrorMessage)(const OrtStatus *);
    OrtStatus *(*CreateEnv)(int level, const char *name, OrtEnv **);
    void *unused4[3];
    OrtStatus *(*CreateSession)(const OrtEnv *, const char *path, const OrtSessionOptions *, OrtSession **);
    void *unused8;
    OrtStatus *(*Run)(OrtSession *, const void *options, const char *const *input_names, const OrtValue *const *inputs,
                      size_t input_count, const char *const *output_names, size_t output_count, OrtValue **outputs);
    OrtStatus *(*CreateSessionOptions)(OrtSessionOptions **);
    void *unused11[13];
    OrtStatus *(*SetIntraOpNumThreads)(OrtSessionOptions *, int);
    void *unused25[24];
    OrtStatus *(*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo *, void *data, size_t bytes, const int64_t *shape,
                                                 size_t rank, int type, OrtValue **);
    void *unused50;
    OrtStatus *(*GetTensorMutableData)(OrtValue *, void **);
    void *unused52[8];
    OrtStatus *(*GetTensorElementType)(const OrtTensorInfo *, int *);
    void *unused61[3];
    OrtStatus *(*GetTensorShapeElementCount)(const OrtTensorInfo *, size_t *);
    OrtStatus *(*GetTensorTypeAndShape)(const OrtValue *, OrtTensorInfo **);
    void *unused66[3];
    OrtStatus *(*CreateCpuMemoryInfo)(int allocator, int memory, OrtMemoryInfo **);
    void *unused70[22];
    void (*ReleaseEnv)(OrtEnv *);
    void (*ReleaseStatus)(OrtStatus *);
    void (*ReleaseMemoryInfo)(OrtMemoryInfo *);
    void (*ReleaseSession)(OrtSession *);
    void (*ReleaseValue)(OrtValue *);
    void *unused97[2];
    void (*ReleaseTensorInfo)(OrtTensorInfo *);
    void (*ReleaseSessionOptions)(OrtSessionOptions *);
} OrtApi;

_Static_assert(offsetof(OrtApi, ReleaseSessionOptions) == 100 * sizeof(void *), "a place is missing");

typedef struct OrtApiBase {
    const OrtApi *(*GetApi)(uint32_t version);
    const char *(*GetVersionString)(void);
} OrtApiBase;

#endif
