//! Names in the configuration that nobody knows. The application may read them from `uwsgi.opt`, so they are told only
//! when it was loaded, and only those that it did not ask for.

use ruwsgi_options::Problem;

/// Names that were not told yet. Dropped, it tells them: nobody has asked for them.
#[derive(Default)]
pub(crate) struct Unknown(Vec<Problem>);

impl Unknown {
    /// Tells all other warnings.
    pub(crate) fn among(warnings: Vec<Problem>) -> Self {
        let (unknown, others) = warnings.into_iter().partition(Problem::is_of_unknown_name);
        let others: Vec<Problem> = others;
        others.iter().for_each(|warning| tracing::warn!("{warning}"));
        Self(unknown)
    }

    /// The application was loaded and has asked for these names, with line breaks between them.
    pub(crate) fn tell(&mut self, asked: &str) {
        for problem in self.0.drain(..).filter(|problem| asked.lines().all(|name| name != problem.name)) {
            tracing::warn!("{problem}");
        }
    }
}

impl Drop for Unknown {
    fn drop(&mut self) {
        self.tell("");
    }
}
