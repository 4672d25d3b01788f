//! What a later release brings, and the modules that are made of Python: each name says so when it is used.

use pyo3::exceptions::PyNotImplementedError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule, PyTuple};

/// The functions that uWSGI's module always has and this one not yet.
const FUNCTIONS: &str = "\
    accepting add_cron add_file_monitor add_rb_timer add_timer add_var alarm async_connect async_sleep cache_clear \
    cache_dec cache_del cache_div cache_exists cache_get cache_inc cache_keys cache_mul cache_num cache_set \
    cache_update chunked_read chunked_read_nb close connect disconnect embedded_data extract farm_get_msg \
    farm_msg green_schedule i_am_the_lord log_this_request lord_scroll metric_dec metric_div metric_get metric_inc \
    metric_mul metric_set metric_set_max metric_set_min mule_get_msg mule_msg offload parsefile ready_fd recv \
    register_signal route scrolls send sendfile set_warning_message signal signal_received \
    signal_registered signal_wait start_response suspend wait_fd_read wait_fd_write websocket_handshake \
    websocket_recv websocket_recv_nb websocket_send websocket_send_binary";

/// The names that uWSGI's module has where an option asks for them, which is not built yet. Applications find out by
/// `hasattr` or `except ImportError` whether they are there, so they are not.
const OPTIONAL: &str = "\
    magic_table queue_get queue_last queue_pop queue_pull queue_pull_slot queue_push queue_set queue_size queue_slot \
    send_to_spooler set_spooler_frequency sharedarea_dec32 sharedarea_dec64 sharedarea_inc32 sharedarea_inc64 \
    sharedarea_inclong sharedarea_memoryview sharedarea_object sharedarea_read sharedarea_read16 sharedarea_read32 \
    sharedarea_read64 sharedarea_read8 sharedarea_readbyte sharedarea_readlong sharedarea_rlock sharedarea_unlock \
    sharedarea_wlock sharedarea_write sharedarea_write16 sharedarea_write32 sharedarea_write64 sharedarea_write8 \
    sharedarea_writebyte sharedarea_writelong snmp_decr_counter32 snmp_decr_counter64 snmp_decr_gauge \
    snmp_incr_counter32 snmp_incr_counter64 snmp_incr_gauge snmp_set_community snmp_set_counter32 \
    snmp_set_counter64 snmp_set_gauge spool spooler_get_task spooler_jobs spooler_pid spooler_pids spoolers";

const DECORATORS: &str = include_str!("uwsgidecorators.py");

pub(super) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    FUNCTIONS.split_ascii_whitespace().try_for_each(|name| module.add(name, Later { name }))
}

/// Why the module has no attribute of this name.
pub(super) fn absent(name: &str) -> String {
    if OPTIONAL.split_ascii_whitespace().any(|known| known == name) {
        return format!("uwsgi.{name} comes with a later release of ruwsgi");
    }
    format!("module 'uwsgi' has no attribute '{name}'")
}

/// A function that is not built yet.
#[pyclass(frozen, module = "uwsgi")]
struct Later {
    #[pyo3(get, name = "__name__")]
    name: &'static str,
}

#[pymethods]
impl Later {
    #[pyo3(signature = (*_arguments, **_keywords))]
    fn __call__(&self, _arguments: &Bound<'_, PyTuple>, _keywords: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let name = self.name;
        Err(PyNotImplementedError::new_err(format!("uwsgi.{name}() comes with a later release of ruwsgi")))
    }

    fn __repr__(&self) -> String {
        format!("<function uwsgi.{} of a later release of ruwsgi>", self.name)
    }
}

/// Makes `import uwsgidecorators` work without anything installed. Behind everything else: an installed one comes first,
/// as with uWSGI.
pub(super) fn add_decorators(sys: &Bound<'_, PyModule>) -> PyResult<()> {
    sys.getattr("meta_path")?.call_method1("append", (Decorators,)).map(drop)
}

/// A finder and loader of the import system, for one module.
#[pyclass(frozen, module = "ruwsgi")]
struct Decorators;

#[pymethods]
impl Decorators {
    #[pyo3(signature = (name, _path=None, _target=None))]
    fn find_spec<'py>(
        slf: &Bound<'py, Self>,
        name: &str,
        _path: Option<&Bound<'py, PyAny>>,
        _target: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if name != "uwsgidecorators" {
            return Ok(None);
        }
        let py = slf.py();
        let machinery = py.import("importlib.machinery")?;
        machinery.call_method1(intern!(py, "ModuleSpec"), (name, slf)).map(Some)
    }

    #[expect(clippy::unused_self, reason = "a method in Python")]
    fn create_module(&self, _spec: &Bound<'_, PyAny>) {}

    #[expect(clippy::unused_self, reason = "a method in Python")]
    fn exec_module(&self, module: &Bound<'_, PyModule>) -> PyResult<()> {
        let builtins = module.py().import("builtins")?;
        let code = builtins.call_method1("compile", (DECORATORS, "<ruwsgi: uwsgidecorators>", "exec", 0, true))?;
        builtins.call_method1("exec", (code, module.dict())).map(drop)
    }
}
