//! Traps in what is loaded and served.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::seen::{Line, Seen};
use crate::report::Problem;

/// `mount = /a=one.wsgi:application`, `mount = /b=two.wsgi:application`
pub fn two_projects(seen: &Seen<'_>) -> Vec<Problem> {
    let mut projects: Vec<(&Line<'_>, &str)> = Vec::new();
    for line in seen.all("mount") {
        let Some(project) = line.value.split_once('=').and_then(|(_, app)| django_project(app)) else { continue };
        if projects.iter().all(|(_, known)| *known != project) {
            projects.push((line, project));
        }
    }
    let Some(((_, first), others)) = projects.split_first() else { return Vec::new() };
    let told = |(line, project): &(&Line<'_>, &str)| {
        line.is(format!(
            "{first} and {project} look like two Django projects: one process has one DJANGO_SETTINGS_MODULE, so both get \
             the settings of the first; run an instance for each"
        ))
    };
    others.iter().map(told).collect()
}

/// `shop` of `shop.wsgi:application`, `shop/wsgi.py`: what startproject makes.
fn django_project(app: &str) -> Option<&str> {
    let file = app.strip_suffix("/wsgi.py").map(|folder| folder.rsplit('/').next().unwrap_or(folder));
    let module = || app.split_once(':').map_or(app, |(module, _)| module).strip_suffix(".wsgi");
    file.or_else(module).filter(|project| !project.is_empty())
}

/// `mount` without `manage-script-name`
pub fn mount_needs_a_name(seen: &Seen<'_>) -> Vec<Problem> {
    if seen.is_on("manage-script-name") {
        return Vec::new();
    }
    let elsewhere = |line: &&Line<'_>| {
        let point = line.value.split('=').next().unwrap_or_default();
        !matches!(point, "" | "/")
    };
    let told = "an application is chosen by the SCRIPT_NAME that a front end sends, and one that is asked directly gets \
                the default one: manage-script-name = true chooses by the path";
    seen.all("mount").find(elsewhere).map(|line| line.is(told)).into_iter().collect()
}

/// `module = app.py`, `wsgi-file = app:application`
pub fn file_or_module(seen: &Seen<'_>) -> Vec<Problem> {
    let module = |line: &Line<'_>| {
        let name = line.value.split(':').next().unwrap_or_default();
        let file = name.ends_with(".py") || name.contains('/');
        file.then(|| {
            line.is(format!("{name:?} is a file, and module wants a name such as package.module: say wsgi-file"))
        })
    };
    let file = |line: &Line<'_>| {
        let (module, callable) = line.value.split_once(':')?;
        let name = |text: &str| !text.is_empty() && !text.contains(['/', '%', '$', '@']);
        (name(module) && name(callable) && !module.ends_with(".py")).then(|| {
            line.is(format!(
                "{:?} is a module and its callable, and {} wants a file: say module",
                line.value, line.name
            ))
        })
    };
    seen.all("module").filter_map(module).chain(seen.all("wsgi-file").filter_map(file)).collect()
}

/// `module = a:one`, `callable = two`
pub fn two_callables(seen: &Seen<'_>) -> Vec<Problem> {
    let (Some(module), Some(callable)) = (seen.last("module"), seen.last("callable")) else { return Vec::new() };
    let Some((_, named)) = module.value.split_once(':') else { return Vec::new() };
    if named == callable.value || named.is_empty() {
        return Vec::new();
    }
    vec![callable.is(format!("{} is not used: {} names {named} ({})", callable.value, module.name, module.origin))]
}

/// `wsgi-file = manage.py`
pub fn manage(seen: &Seen<'_>) -> Vec<Problem> {
    let is_manage = |line: &&Line<'_>| {
        let name = line.value.rsplit('/').next().unwrap_or_default();
        name == "manage.py" || line.option == "module" && name == "manage"
    };
    let lines = ["wsgi-file", "module"].into_iter().filter_map(|option| seen.last(option)).filter(is_manage);
    let told = "Django's manage.py has no application: it is in the wsgi.py of the project";
    lines.filter(|_| seen.last("callable").is_none()).map(|line| line.is(told)).collect()
}

/// `static-map = /=/srv/app` over the code.
pub fn served_code(seen: &Seen<'_>) -> Vec<Problem> {
    let code: BTreeSet<PathBuf> = ["chdir", "pythonpath", "virtualenv", "wsgi-file"]
        .into_iter()
        .flat_map(|option| seen.all(option))
        .filter(|line| line.value.starts_with('/'))
        .filter_map(|line| tidy(&line.value))
        .collect();
    let base = seen.last("chdir").and_then(|line| tidy(&line.value)).unwrap_or_default();
    let lines = ["static-map", "static-map2", "check-static"].into_iter().flat_map(|option| seen.all(option));
    let told = |line: &Line<'_>| {
        let path = match line.option {
            "check-static" => &*line.value,
            _ => line.value.split_once('=')?.1,
        };
        let path = tidy(&base.join(path).to_string_lossy()).filter(|path| path.is_absolute())?;
        let inside = code.iter().find(|code| code.starts_with(&path))?;
        Some(line.is(format!(
            "everything in {} can be fetched, and {} with its code and settings is in there: serve a directory that has \
             nothing else",
            path.display(),
            inside.display()
        )))
    };
    lines.filter_map(told).collect()
}

/// A path without `.` and `..`; none where it leads out of the root or nowhere.
fn tidy(path: &str) -> Option<PathBuf> {
    let mut tidy = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !tidy.pop() {
                    return None;
                }
            }
            other => tidy.push(other),
        }
    }
    Some(tidy).filter(|path| !path.as_os_str().is_empty())
}

/// `catch-exceptions`
pub fn told_to_everybody(seen: &Seen<'_>) -> Vec<Problem> {
    let line = seen.last("catch-exceptions").filter(|_| seen.is_on("catch-exceptions"));
    let told = "for tests only: clients get the traceback, with paths and pieces of the code";
    line.map(|line| line.is(told)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::{found, silent};

    #[test]
    fn one_process_has_one_django() {
        let two = [("mount", "/a=one.wsgi:application"), ("mount", "/b=two.wsgi:application")];
        let told = found(two_projects, &two);
        assert!(told.len() == 1 && told[0].contains("one and two look like two") && told[0].ends_with("(app.ini:2)"));
        assert_eq!(found(two_projects, &[("mount", "/a=/srv/one/wsgi.py"), ("mount", "/b=/srv/two/wsgi.py")]).len(), 1);
        silent(two_projects, &[("mount", "/a=one.wsgi:application"), ("mount", "/b=one.wsgi:application")]);
        silent(two_projects, &[("mount", "/a=one:app"), ("mount", "/b=two:app")]);
        silent(two_projects, &[("mount", "/a=one.wsgi:application"), ("mount", "/b=site.py")]);
    }

    #[test]
    fn a_mount_is_found_by_its_name() {
        assert_eq!(found(mount_needs_a_name, &[("mount", "/=a:b"), ("mount", "/api=a:b")]).len(), 1);
        assert_eq!(found(mount_needs_a_name, &[("mount", "/api=a:b"), ("manage-script-name", "false")]).len(), 1);
        silent(mount_needs_a_name, &[("mount", "/api=a:b"), ("manage-script-name", "true")]);
        silent(mount_needs_a_name, &[("mount", "/=a:b"), ("mount", "=a:b")]);
    }

    #[test]
    fn a_file_is_no_module() {
        assert!(found(file_or_module, &[("module", "app.py")])[0].contains("say wsgi-file"));
        assert_eq!(found(file_or_module, &[("module", "shop/wsgi:application"), ("wsgi-file", "app:app")]).len(), 2);
        silent(file_or_module, &[("module", "shop.wsgi:application"), ("wsgi-file", "shop/wsgi.py")]);
        silent(file_or_module, &[("wsgi-file", "/a:b/c.py"), ("module", "app:make()")]);
    }

    #[test]
    fn one_of_two_callables_is_not_used() {
        let told = found(two_callables, &[("module", "a:one"), ("callable", "two")]);
        assert_eq!(told, ["callable: two is not used: module names one (app.ini:1) (app.ini:2)"]);
        silent(two_callables, &[("module", "a:one"), ("callable", "one")]);
        silent(two_callables, &[("module", "a"), ("callable", "two")]);
    }

    #[test]
    fn manage_is_a_command() {
        assert_eq!(found(manage, &[("wsgi-file", "/srv/manage.py")]).len(), 1);
        assert_eq!(found(manage, &[("module", "manage")]).len(), 1);
        silent(manage, &[("wsgi-file", "manage.py"), ("callable", "app")]);
        silent(manage, &[("module", "manage:app")]);
        silent(manage, &[("wsgi-file", "manage_it.py")]);
    }

    #[test]
    fn code_is_no_static_file() {
        assert_eq!(found(served_code, &[("chdir", "/srv/app"), ("static-map", "/=/srv/app/")]).len(), 1);
        assert_eq!(found(served_code, &[("chdir", "/srv/app"), ("static-map", "/s=.")]).len(), 1);
        assert_eq!(found(served_code, &[("wsgi-file", "/srv/a/x.py"), ("check-static", "/srv/b/../a")]).len(), 1);
        silent(served_code, &[("chdir", "/srv/app"), ("static-map", "/static=/srv/app/static")]);
        silent(served_code, &[("chdir", "/srv/app"), ("static-map", "/static=static"), ("check-static", "/var/www")]);
        silent(served_code, &[("static-map", "/=app"), ("wsgi-file", "app/x.py")]);
    }

    #[test]
    fn tracebacks_are_not_for_everybody() {
        assert_eq!(found(told_to_everybody, &[("catch-exceptions", "true")]).len(), 1);
        silent(told_to_everybody, &[("catch-exceptions", "false")]);
    }
}
