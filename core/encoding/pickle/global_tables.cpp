#include "core/encoding/pickle/global_tables.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>

namespace shardlens::pickle {
namespace {

// formats/pickle-safety.md §6.3 and §3.3. Every table is sorted, which is checked below: they are searched by halves.

struct ModuleNames {
    std::string_view module;
    std::string_view names; // separated by blanks; `*` marks an enumeration
};

struct ModuleMove {
    std::string_view from;
    std::string_view to;
};

struct NameMove {
    std::string_view module;
    std::string_view name;
    std::string_view newModule;
    std::string_view newName;
};

// List W: what torch.load(weights_only=True) accepts.
constexpr ModuleNames kWeightsOnly[] = {
    {"_codecs", "encode"},
    {"builtins", "bytearray complex set"},
    {"collections", "Counter OrderedDict"},
    {"torch",
     "BFloat16Tensor BoolTensor ByteTensor CharTensor DoubleTensor FloatTensor HalfTensor IntTensor LongTensor ShortTensor Size "
     "Tensor bfloat16 bits16 bits1x8 bits2x4 bits4x2 bits8 bool cdouble cfloat chalf complex128 complex32 complex64 device double "
     "float float16 float32 float4_e2m1fn_x2 float64 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu half "
     "int int1 int16 int2 int3 int32 int4 int5 int6 int64 int7 int8 long per_channel_affine per_channel_affine_float_qparams "
     "per_channel_symmetric per_tensor_affine per_tensor_symmetric qint32 qint8 quint2x4 quint4x2 quint8 short uint1 uint16 uint2 "
     "uint3 uint32 uint4 uint5 uint6 uint64 uint7 uint8"},
    {"torch._tensor", "_rebuild_from_type_v2"},
    {"torch._utils",
     "_rebuild_device_tensor_from_cpu_tensor _rebuild_device_tensor_from_numpy _rebuild_meta_tensor_no_storage "
     "_rebuild_nested_tensor _rebuild_parameter _rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_csr_tensor "
     "_rebuild_sparse_tensor _rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_wrapper_subclass"},
    {"torch.nn.parameter", "Parameter"},
    {"torch.serialization", "_get_layout"},
    {"torch.storage", "TypedStorage UntypedStorage"},
};

// List K: inert classes of libraries.
constexpr ModuleNames kKnown[] = {
    {"_io", "BytesIO"},
    {"accelerate.state", "PartialState"},
    {"accelerate.utils.dataclasses", "DeepSpeedPlugin DistributedType*"},
    {"accelerate.utils.deepspeed", "HfDeepSpeedConfig HfTrainerDeepSpeedConfig"},
    {"alignment.configs", "DPOConfig SFTConfig"},
    {"argparse", "Namespace"},
    {"builtins", "Ellipsis NotImplemented bool bytes dict float frozenset int list object range slice str tuple"},
    {"collections", "UserDict defaultdict deque"},
    {"copyreg", "__newobj__ __newobj_ex__ _reconstructor"},
    {"datetime", "date datetime time timedelta timezone"},
    {"decimal", "Decimal"},
    {"deepspeed.checkpoint.universal_checkpoint", "SubparamShape"},
    {"deepspeed.runtime.bf16_optimizer", "fragment_address"},
    {"deepspeed.runtime.fp16.loss_scaler", "DynamicLossScaler LossScaler"},
    {"deepspeed.runtime.zero.config", "ZeroStageEnum*"},
    {"deepspeed.utils.tensor_fragment", "fragment_address"},
    {"fp16.loss_scaler", "DynamicLossScaler LossScaler"},
    {"fractions", "Fraction"},
    {"io", "BytesIO"},
    {"logging", "getLogger"},
    {"megatron.core.dist_checkpointing.strategies.torch", "MCoreMetadata"},
    {"megatron.core.enums", "ModelType*"},
    {"megatron.core.optimizer", "OptimizerConfig"},
    {"megatron.core.rerun_state_machine", "RerunDiagnostic RerunMode RerunState"},
    {"megatron.core.transformer.enums", "AttnBackend* AttnMaskType* CudaGraphModule* CudaGraphScope* InferenceCudaGraphScope*"},
    {"megatron.core.transformer.transformer_config", "MLATransformerConfig TransformerConfig"},
    {"megatron.enums", "ModelType*"},
    {"megatron.fp16.loss_scaler", "DynamicLossScaler LossScaler"},
    {"megatron.fp16_deprecated.loss_scaler", "DynamicLossScaler LossScaler"},
    {"megatron.model.enums", "ModelType*"},
    {"numpy",
     "bool bool_ complex128 complex192 complex256 complex64 dtype float128 float16 float32 float64 float96 int16 int32 int64 int8 "
     "ndarray uint16 uint32 uint64 uint8"},
    {"numpy._core.multiarray", "_reconstruct scalar"},
    {"numpy._core.numeric", "_frombuffer"},
    {"numpy.core.multiarray", "_reconstruct scalar"},
    {"numpy.core.numeric", "_frombuffer"},
    {"numpy.random._mt19937", "MT19937"},
    {"numpy.random._pcg64", "PCG64"},
    {"numpy.random._pickle", "__bit_generator_ctor __generator_ctor __randomstate_ctor"},
    {"numpy.random.bit_generator", "SeedSequence __pyx_unpickle_SeedSequence"},
    {"pathlib", "Path PosixPath PurePosixPath PureWindowsPath WindowsPath"},
    {"pathlib._local", "Path PosixPath PurePosixPath PureWindowsPath WindowsPath"},
    {"re", "_compile"},
    {"signal", "Signals*"},
    {"tokenizers", "AddedToken Tokenizer"},
    {"torch._C", "Generator device"},
    {"torch._tensor", "_rebuild_from_type"},
    {"torch.distributed._mesh_layout", "_FlatLayout _MeshLayout"},
    {"torch.distributed._shard.checkpoint.filesystem", "_StorageInfo"},
    {"torch.distributed._shard.checkpoint.metadata",
     "BytesStorageMetadata ChunkStorageMetadata Metadata MetadataIndex StorageMeta TensorProperties TensorStorageMetadata "
     "_MEM_FORMAT_ENCODING*"},
    {"torch.distributed._shard.metadata", "ShardMetadata"},
    {"torch.distributed._shard.sharded_tensor.api", "ShardedTensor"},
    {"torch.distributed._shard.sharded_tensor.metadata", "MEM_FORMAT_ENCODING* ShardedTensorMetadata TensorProperties"},
    {"torch.distributed._shard.sharded_tensor.shard", "Shard"},
    {"torch.distributed._shard.sharding_spec.api", "EnumerableShardingSpec"},
    {"torch.distributed._shard.sharding_spec.chunk_sharding_spec", "ChunkShardingSpec"},
    {"torch.distributed._tensor.api", "DTensor"},
    {"torch.distributed._tensor.placement_types", "Partial Replicate Shard _Partial _StridedShard"},
    {"torch.distributed.checkpoint.filesystem", "_StorageInfo"},
    {"torch.distributed.checkpoint.metadata",
     "BytesStorageMetadata ChunkStorageMetadata Metadata MetadataIndex StorageMeta TensorProperties TensorStorageMetadata "
     "_MEM_FORMAT_ENCODING*"},
    {"torch.distributed.checkpoint.planner", "SavePlan TensorWriteData WriteItem WriteItemType*"},
    {"torch.distributed.device_mesh", "DeviceMesh"},
    {"torch.distributed.remote_device", "_remote_device"},
    {"torch.distributed.tensor", "DTensor"},
    {"torch.distributed.tensor._dtensor_spec", "DTensorSpec ShardOrderEntry TensorMeta"},
    {"torch.distributed.tensor.placement_types", "Partial Replicate Shard _Partial _StridedShard"},
    {"torch.jit._pickle", "build_boollist build_doublelist build_intlist build_tensor_from_id build_tensorlist restore_type_tag"},
    {"torch.storage", "_load_from_bytes"},
    {"torch.torch_version", "TorchVersion"},
    {"transformers.deepspeed", "HfDeepSpeedConfig HfTrainerDeepSpeedConfig"},
    {"transformers.integrations.deepspeed", "HfDeepSpeedConfig HfTrainerDeepSpeedConfig"},
    {"transformers.trainer_pt_utils", "AcceleratorConfig"},
    {"transformers.trainer_utils",
     "EvaluationStrategy* FSDPOption* HubStrategy* IntervalStrategy* SaveStrategy* SchedulerType* ShardedDDPOption*"},
    {"transformers.training_args", "OptimizerNames* TrainingArguments"},
    {"transformers.training_args_seq2seq", "Seq2SeqTrainingArguments"},
    {"trl.trainer.dpo_config", "DPOConfig FDivergenceType*"},
    {"trl.trainer.grpo_config", "GRPOConfig"},
    {"trl.trainer.kto_config", "KTOConfig"},
    {"trl.trainer.ppov2_config", "PPOv2Config"},
    {"trl.trainer.sft_config", "SFTConfig"},
    {"types", "SimpleNamespace"},
    {"uuid", "UUID"},
};

// Modules of harmful power, with all below them.
constexpr std::string_view kDangerousModules[] = {
    "_aix_support", "_asyncio", "_cffi_backend", "_compat_pickle", "_ctypes", "_frozen_importlib", "_frozen_importlib_external", "_imp", 
    "_interpreters", "_lsprof", "_operator", "_osx_support", "_pickle", "_posixsubprocess", "_pyrepl", "_signal", "_socket", "_sqlite3", 
    "_ssl", "_sysconfigdata", "_thread", "_winapi", "_winreg", "_xxsubinterpreters", "aiohttp", "asyncio", "atexit", "bdb", "bz2", "cPickle", 
    "cProfile", "cffi", "cloudpickle", "code", "codeop", "commands", "compileall", "concurrent", "ctypes", "dbm", "difflib", "dill", 
    "distutils", "doctest", "ensurepip", "fabric", "faulthandler", "fickling", "filecmp", "fileinput", "ftplib", "gc", "glob", "gzip", "http", 
    "httplib", "httpx", "idlelib", "imaplib", "imp", "importlib", "inspect", "joblib", "lib2to3", "linecache", "logging", "lzma", "marshal", 
    "mmap", "modelaudit", "modelscan", "multiprocessing", "nntplib", "nt", "numpy.ctypeslib", "numpy.distutils", "numpy.f2py", 
    "numpy.lib._datasource", "numpy.lib._npyio_impl", "numpy.lib.format", "numpy.lib.npyio", "numpy.testing", "operator", "os", 
    "pandas.core.computation.eval", "pandas.io.pickle", "paramiko", "pdb", "pexpect", "pickle", "picklescan", "pip", "pipes", "pkg_resources", 
    "pkgutil", "platform", "popen2", "poplib", "posix", "profile", "pty", "py_compile", "pydoc", "requests", "resource", "runpy", 
    "saferpickle", "select", "selectors", "setuptools", "shelve", "shutil", "signal", "site", "smtplib", "socket", "socketserver", "sqlite3", 
    "ssl", "subprocess", "sys", "sysconfig", "syslog", "tarfile", "telnetlib", "tempfile", "test", "threading", "timeit", "tkinter", 
    "torch._dynamo", "torch._inductor", "torch.classes", "torch.distributed.elastic", "torch.distributed.rpc", "torch.distributed.run", 
    "torch.fx.experimental", "torch.fx.graph_module", "torch.hub", "torch.jit", "torch.multiprocessing", "torch.ops", "torch.package", 
    "torch.serialization", "torch.testing", "torch.utils._config_module", "torch.utils.bottleneck", "torch.utils.collect_env", 
    "torch.utils.cpp_extension", "torch.utils.data.datapipes.utils.decoder", "torch.utils.model_dump", "trace", "tracemalloc", "turtle", 
    "unittest", "urllib", "urllib2", "urllib3", "uuid", "venv", "weakref", "webbrowser", "winreg", "wsgiref", "xmlrpc", "zipfile", "zipimport",
};

constexpr ModuleNames kDangerousNames[] = {
    {"_codecs", "lookup register"},
    {"_io", "FileIO OpenWrapper open open_code"},
    {"codecs", "open"},
    {"functools", "cached_property lru_cache partialmethod reduce singledispatch"},
    {"io", "FileIO OpenWrapper open open_code"},
    {"numpy", "DataSource f2py fromfile fromregex genfromtxt load loadtxt memmap save savetxt savez tofile"},
    {"pandas", "eval read_csv read_pickle"},
    {"torch", "classes compile hub jit load ops os save sys"},
    {"torch.distributed", "init_process_group launch"},
    {"types", "CodeType DynamicClassAttribute FunctionType LambdaType MethodType ModuleType coroutine new_class resolve_bases"},
};

constexpr std::string_view kStorageClasses[] = {
    "BFloat16Storage", "BoolStorage", "ByteStorage", "CharStorage", "ComplexDoubleStorage", "ComplexFloatStorage", "DoubleStorage", 
    "FloatStorage", "HalfStorage", "IntStorage", "LongStorage", "QInt32Storage", "QInt8Storage", "QUInt2x4Storage", "QUInt4x2Storage", 
    "QUInt8Storage", "ShortStorage", "TypedStorage", "UntypedStorage", "_TypedStorage", "_UntypedStorage",
};

constexpr std::string_view kBadBuiltins[] = {
    "__build_class__", "__import__", "__loader__", "apply", "breakpoint", "classmethod", "compile", "copyright", "credits", "delattr", "dir", 
    "eval", "exec", "execfile", "exit", "file", "getattr", "globals", "hasattr", "help", "input", "license", "locals", "memoryview", "open", 
    "property", "quit", "raw_input", "reload", "setattr", "staticmethod", "super", "vars",
};

constexpr std::string_view kIndirectBuiltins[] = {
    "abs", "all", "any", "ascii", "bin", "callable", "chr", "divmod", "enumerate", "filter", "format", "hash", "hex", "id", "isinstance", 
    "issubclass", "iter", "len", "map", "max", "min", "next", "oct", "ord", "pow", "print", "reduce", "repr", "reversed", "round", "sorted", 
    "sum", "zip",
};

constexpr std::string_view kHardModules[] = {
    "__builtin__", "__builtins__", "_pickle", "builtins", "ctypes", "imp", "importlib", "marshal", "multiprocessing", "nt", "os", "pickle", 
    "pkgutil", "posix", "pty", "requests", "runpy", "shutil", "socket", "subprocess", "sys", "urllib",
};

constexpr std::string_view kHotNames[] = {
    "LoadLibrary", "Popen", "__import__", "attrgetter", "check_call", "check_output", "compile", "delattr", "eval", "exec", "execWrapper", 
    "exec_command", "execfile", "getattr", "import_module", "itemgetter", "load_library", "load_module", "loads", "methodcaller", "popen", 
    "run_code", "run_module", "run_path", "runstring", "setattr", "system",
};

// Python 2 modules and names, as protocols 0 to 2 write them.
constexpr ModuleMove kMovedModules[] = {
    {"BaseHTTPServer", "http.server"}, {"CGIHTTPServer", "http.server"}, {"ConfigParser", "configparser"}, {"Cookie", "http.cookies"}, 
    {"Dialog", "tkinter.dialog"}, {"DocXMLRPCServer", "xmlrpc.server"}, {"FileDialog", "tkinter.filedialog"}, {"HTMLParser", "html.parser"}, 
    {"Queue", "queue"}, {"ScrolledText", "tkinter.scrolledtext"}, {"SimpleDialog", "tkinter.simpledialog"}, 
    {"SimpleHTTPServer", "http.server"}, {"SimpleXMLRPCServer", "xmlrpc.server"}, {"SocketServer", "socketserver"}, {"StringIO", "io"}, 
    {"Tix", "tkinter.tix"}, {"Tkconstants", "tkinter.constants"}, {"Tkdnd", "tkinter.dnd"}, {"Tkinter", "tkinter"}, 
    {"UserDict", "collections"}, {"UserList", "collections"}, {"UserString", "collections"}, {"__builtin__", "builtins"}, 
    {"_abcoll", "collections.abc"}, {"_elementtree", "xml.etree.ElementTree"}, {"_winreg", "winreg"}, {"anydbm", "dbm"}, {"cPickle", "pickle"}, 
    {"cStringIO", "io"}, {"commands", "subprocess"}, {"cookielib", "http.cookiejar"}, {"copy_reg", "copyreg"}, {"dbhash", "dbm.bsd"}, 
    {"dbm", "dbm.ndbm"}, {"dumbdbm", "dbm.dumb"}, {"dummy_thread", "_dummy_thread"}, {"gdbm", "dbm.gnu"}, {"htmlentitydefs", "html.entities"}, 
    {"httplib", "http.client"}, {"markupbase", "_markupbase"}, {"repr", "reprlib"}, {"robotparser", "urllib.robotparser"}, 
    {"test.test_support", "test.support"}, {"thread", "_thread"}, {"tkColorChooser", "tkinter.colorchooser"}, 
    {"tkCommonDialog", "tkinter.commondialog"}, {"tkFileDialog", "tkinter.filedialog"}, {"tkFont", "tkinter.font"}, 
    {"tkMessageBox", "tkinter.messagebox"}, {"tkSimpleDialog", "tkinter.simpledialog"}, {"ttk", "tkinter.ttk"}, {"urllib2", "urllib.request"}, 
    {"urlparse", "urllib.parse"}, {"whichdb", "dbm"}, {"xmlrpclib", "xmlrpc.client"},
};

constexpr NameMove kMovedNames[] = {
    {"UserDict", "IterableUserDict", "collections", "UserDict"}, {"UserDict", "UserDict", "collections", "UserDict"}, 
    {"UserList", "UserList", "collections", "UserList"}, {"UserString", "UserString", "collections", "UserString"}, 
    {"__builtin__", "basestring", "builtins", "str"}, {"__builtin__", "intern", "sys", "intern"}, {"__builtin__", "long", "builtins", "int"}, 
    {"__builtin__", "reduce", "functools", "reduce"}, {"__builtin__", "unichr", "builtins", "chr"}, 
    {"__builtin__", "unicode", "builtins", "str"}, {"__builtin__", "xrange", "builtins", "range"}, 
    {"_multiprocessing", "Connection", "multiprocessing.connection", "Connection"}, {"_socket", "fromfd", "socket", "fromfd"}, 
    {"itertools", "ifilter", "builtins", "filter"}, {"itertools", "ifilterfalse", "itertools", "filterfalse"}, 
    {"itertools", "imap", "builtins", "map"}, {"itertools", "izip", "builtins", "zip"}, 
    {"itertools", "izip_longest", "itertools", "zip_longest"}, 
    {"multiprocessing", "AuthenticationError", "multiprocessing.context", "AuthenticationError"}, 
    {"multiprocessing", "BufferTooShort", "multiprocessing.context", "BufferTooShort"}, 
    {"multiprocessing", "ProcessError", "multiprocessing.context", "ProcessError"}, 
    {"multiprocessing", "TimeoutError", "multiprocessing.context", "TimeoutError"}, 
    {"multiprocessing.forking", "Popen", "multiprocessing.popen_fork", "Popen"}, 
    {"multiprocessing.process", "Process", "multiprocessing.context", "Process"}, {"socket", "_socketobject", "socket", "SocketType"}, 
    {"urllib", "ContentTooShortError", "urllib.error", "ContentTooShortError"}, {"urllib", "getproxies", "urllib.request", "getproxies"}, 
    {"urllib", "pathname2url", "urllib.request", "pathname2url"}, {"urllib", "quote", "urllib.parse", "quote"}, 
    {"urllib", "quote_plus", "urllib.parse", "quote_plus"}, {"urllib", "unquote", "urllib.parse", "unquote"}, 
    {"urllib", "unquote_plus", "urllib.parse", "unquote_plus"}, {"urllib", "url2pathname", "urllib.request", "url2pathname"}, 
    {"urllib", "urlcleanup", "urllib.request", "urlcleanup"}, {"urllib", "urlencode", "urllib.parse", "urlencode"}, 
    {"urllib", "urlopen", "urllib.request", "urlopen"}, {"urllib", "urlretrieve", "urllib.request", "urlretrieve"}, 
    {"urllib2", "HTTPError", "urllib.error", "HTTPError"}, {"urllib2", "URLError", "urllib.error", "URLError"}, 
    {"whichdb", "whichdb", "dbm", "whichdb"},
};

// Of Python 2's module `exceptions`.
constexpr std::string_view kExceptions[] = {
    "ArithmeticError", "AssertionError", "AttributeError", "BaseException", "BufferError", "BytesWarning", "DeprecationWarning", "EOFError", 
    "EnvironmentError", "Exception", "FloatingPointError", "FutureWarning", "GeneratorExit", "IOError", "ImportError", "ImportWarning", 
    "IndentationError", "IndexError", "KeyError", "KeyboardInterrupt", "LookupError", "MemoryError", "NameError", "NotImplementedError", 
    "OSError", "OverflowError", "PendingDeprecationWarning", "ReferenceError", "RuntimeError", "RuntimeWarning", "StandardError", 
    "StopIteration", "SyntaxError", "SyntaxWarning", "SystemError", "SystemExit", "TabError", "TypeError", "UnboundLocalError", 
    "UnicodeDecodeError", "UnicodeEncodeError", "UnicodeError", "UnicodeTranslateError", "UnicodeWarning", "UserWarning", "ValueError", 
    "Warning", "ZeroDivisionError",
};

static_assert(std::ranges::is_sorted(kWeightsOnly, {}, &ModuleNames::module));
static_assert(std::ranges::is_sorted(kKnown, {}, &ModuleNames::module));
static_assert(std::ranges::is_sorted(kDangerousModules));
static_assert(std::ranges::is_sorted(kDangerousNames, {}, &ModuleNames::module));
static_assert(std::ranges::is_sorted(kStorageClasses));
static_assert(std::ranges::is_sorted(kBadBuiltins));
static_assert(std::ranges::is_sorted(kIndirectBuiltins));
static_assert(std::ranges::is_sorted(kHardModules));
static_assert(std::ranges::is_sorted(kHotNames));
static_assert(std::ranges::is_sorted(kMovedModules, {}, &ModuleMove::from));
static_assert(std::ranges::is_sorted(kMovedNames, {}, [](const NameMove& row) { return std::pair(row.module, row.name); }));
static_assert(std::ranges::is_sorted(kExceptions));

enum class Listed : std::uint8_t { No, Yes, Enumeration };

Listed listedIn(std::span<const ModuleNames> table, std::string_view module, std::string_view name)
{
    const auto row = std::ranges::lower_bound(table, module, {}, &ModuleNames::module);
    if (row == table.end() || row->module != module)
        return Listed::No;
    for (std::string_view left = row->names; !left.empty();) {
        std::string_view word = left.substr(0, left.find(' '));
        left.remove_prefix(std::min(left.size(), word.size() + 1));
        const bool isEnumeration = word.ends_with('*');
        word.remove_suffix(isEnumeration ? 1 : 0);
        if (word == name)
            return isEnumeration ? Listed::Enumeration : Listed::Yes;
    }
    return Listed::No;
}

bool hasWord(std::span<const std::string_view> table, std::string_view word)
{
    return std::ranges::binary_search(table, word);
}

} // namespace

bool isWeightsOnlyName(std::string_view module, std::string_view name)
{
    return listedIn(kWeightsOnly, module, name) != Listed::No;
}

bool isKnownName(std::string_view module, std::string_view name)
{
    return listedIn(kKnown, module, name) != Listed::No;
}

bool isKnownEnumeration(std::string_view module, std::string_view name)
{
    return listedIn(kKnown, module, name) == Listed::Enumeration;
}

bool isDangerousName(std::string_view module, std::string_view name)
{
    return listedIn(kDangerousNames, module, name) != Listed::No;
}

bool isDangerousModule(std::string_view module) { return hasWord(kDangerousModules, module); }
bool isStorageClass(std::string_view name) { return hasWord(kStorageClasses, name); }
bool isBadBuiltin(std::string_view name) { return hasWord(kBadBuiltins, name); }
bool isIndirectBuiltin(std::string_view name) { return hasWord(kIndirectBuiltins, name); }
bool isHardModule(std::string_view word) { return hasWord(kHardModules, word); }
bool isHotName(std::string_view word) { return hasWord(kHotNames, word); }

GlobalName movedName(GlobalName raw)
{
    const auto key = [](const NameMove& row) { return std::pair(row.module, row.name); };
    const auto* const moved = std::ranges::lower_bound(kMovedNames, std::pair(raw.module, raw.name), {}, key);
    if (moved != std::end(kMovedNames) && key(*moved) == std::pair(raw.module, raw.name))
        return {moved->newModule, moved->newName};
    if (raw.module == "exceptions" && hasWord(kExceptions, raw.name))
        return {"builtins", raw.name == "StandardError" ? std::string_view("Exception") : raw.name};
    const auto* const module = std::ranges::lower_bound(kMovedModules, raw.module, {}, &ModuleMove::from);
    if (module != std::end(kMovedModules) && module->from == raw.module)
        return {module->to, raw.name};
    return raw;
}

} // namespace shardlens::pickle
