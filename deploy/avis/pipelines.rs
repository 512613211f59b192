//! `avis pipelines`: what runs, what a file would do, trying one, and landing a table again.

use std::path::{Path, PathBuf};

use ingest::topic::Topic;
use pipelines::{
    catalogue::{self, SOURCES, SUMMARIES, TABLES},
    export as cluster, files, own,
    pipeline::Pipeline,
    planner,
    runner::{Begin, restart},
};
use warehouse::{schema, table::delta};

use crate::{
    cli::{Data, ExportArguments, ExportTarget, From, PipelinesCommand, RestartArguments},
    commands::{are_apart, node},
    config::Config,
    confirm::confirm,
    failure::Failure,
    node::own_folder,
    remote::landing as remote,
};

/// Runs it.
///
/// # Errors
/// Where a file does not plan, or a stream or table fails.
pub async fn run(command: PipelinesCommand) -> Result<(), Failure> {
    match command {
        PipelinesCommand::List { at } => match &at.server {
            Some(server) => remote::list(server).await,
            None => list(&at.data()).await,
        },
        PipelinesCommand::Explain { what } => explain(&what).await,
        PipelinesCommand::Validate { files } => validate(&files).await,
        PipelinesCommand::Run { file } => try_out(&file).await,
        PipelinesCommand::Add { file, data } => add(&file, &data).await,
        PipelinesCommand::Remove { name, data } => remove(&name, &data).await,
        PipelinesCommand::Restart(arguments) => land_again(arguments).await,
        PipelinesCommand::Export(arguments) => export(arguments),
    }
}

async fn list(data: &Data) -> Result<(), Failure> {
    let mut planned = catalogue::shipped().await?;
    planned.extend(own::all(&own_folder(&data.folder)).await);
    for pipeline in planned {
        let gathers = if pipeline.blueprint.is_stateful() { "gathers" } else { "" };
        println!("{:<24} {gathers:<8} from {}", pipeline.name, topics(&pipeline));
    }
    for (name, _) in SUMMARIES {
        println!("{name:<24} {:<8} from the tables, asked again now and then", "summary");
    }
    Ok(())
}

fn topics(pipeline: &Pipeline) -> String {
    let topics: Vec<String> = pipeline.topics().iter().map(ToString::to_string).collect();
    topics.join(", ")
}

/// A shipped pipeline by its name, or a file by its path.
async fn explain(what: &str) -> Result<(), Failure> {
    if let Some((_, query)) = SUMMARIES.iter().find(|(name, _)| *name == what) {
        print!("{query}");
        return Ok(());
    }
    let shipped = TABLES.iter().find(|(name, _)| *name == what);
    let path = Path::new(what);
    if shipped.is_none() && !path.exists() {
        let text = format!(
            "there is neither a pipeline {what} (avis pipelines list shows them) nor a file of that name"
        );
        return Err(Failure::State(text));
    }
    let planned = match shipped {
        Some((name, text)) => planner::standalone(SOURCES, name, text).await?,
        None => planner::standalone(SOURCES, &stem(path), &read(path)?).await?,
    };
    for pipeline in planned {
        print!("{pipeline}");
    }
    Ok(())
}

/// Plans files without running them. A fault in one does not hide those of the others.
async fn validate(files: &[PathBuf]) -> Result<(), Failure> {
    let mut faults = 0;
    for file in files {
        let text = read(file)?;
        match planner::standalone(SOURCES, &stem(file), &text).await {
            Ok(planned) if planned.is_empty() => {
                faults += 1;
                eprintln!("{}: has no INSERT INTO a sink, so it would do nothing", file.display());
            }
            Ok(planned) => {
                for pipeline in planned {
                    let from: Vec<&str> =
                        pipeline.inputs.iter().map(|input| input.table.name.as_str()).collect();
                    let (shown, from) = (file.display(), from.join(", "));
                    println!("{shown}: fine, fills {} from {from}", pipeline.sink.name);
                    warn(file, &pipeline);
                }
            }
            Err(error) => {
                faults += 1;
                eprintln!("{}: {error}", file.display());
            }
        }
    }
    match faults {
        0 => Ok(()),
        faults => Err(Failure::Invalid { faults, files: files.len() }),
    }
}

fn warn(file: &Path, pipeline: &Pipeline) {
    for warning in pipeline.warnings() {
        eprintln!("{}: mind: {warning}", file.display());
    }
}

/// Runs a file over files, to the end of them.
async fn try_out(file: &Path) -> Result<(), Failure> {
    let written = files::run(&stem(file), &read(file)?, files::Settings::default()).await?;
    for written in written {
        let late = match written.late {
            0 => String::new(),
            late => format!(", {late} rows came too late for their window"),
        };
        let (path, lines) = (written.path.display(), written.lines);
        println!("{}: {lines} lines in {path}{late}", written.table);
    }
    Ok(())
}

/// Takes a file among the operator's own pipelines.
async fn add(file: &Path, data: &Data) -> Result<(), Failure> {
    let (name, text) = (stem(file), read(file)?);
    let pipeline = own::one(&name, &text).await?;
    warn(file, &pipeline);
    let folder = own_folder(&data.folder);
    let path = folder.join(format!("{name}.sql"));
    if std::fs::read_to_string(&path).is_ok_and(|known| known != text) {
        let text = format!(
            "{name} is there already and says something else: avis pipelines remove {name}, or take \
             another name"
        );
        return Err(Failure::State(text));
    }
    let failed = |source| Failure::Folder { path: folder.clone(), source };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    warehouse::file::write(&path, text.as_bytes())?;
    println!("{name} is added; avis up lands it from the beginning of {}", topics(&pipeline));
    Ok(())
}

/// Takes one of the operator's own pipelines away, with its table. Its streams stay.
async fn remove(name: &str, data: &Data) -> Result<(), Failure> {
    let path = own_folder(&data.folder).join(format!("{name}.sql"));
    let is_name = name.chars().all(|sign| sign.is_ascii_alphanumeric() || sign == '_');
    if !is_name || !path.is_file() {
        let text = format!("there is no pipeline of your own named {name}");
        return Err(Failure::State(text));
    }
    is_of_pipelines(data)?;
    // A running node would go on with it.
    let node = node(data)?;
    let planned = node.planned().await?;
    if let Some(table) =
        planned.iter().find_map(|own| (own.name == name).then(|| schema::table(name))?)
    {
        delta::remove(node.warehouse(), table.name).await?;
    }
    let states = node.folder.join("pipelines").join(name);
    match std::fs::remove_dir_all(&states) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::Folder { path: states, source });
        }
        _ => {}
    }
    std::fs::remove_file(&path).map_err(|source| Failure::Folder { path, source })?;
    let folder = planned.iter().find(|own| own.name == name).and_then(Pipeline::folder);
    match folder {
        Some(folder) => println!("{name} is gone; its files stay in {}", folder.display()),
        None => println!("{name} and its table are gone"),
    }
    Ok(())
}

/// Refuses, of roles apart, every folder but that of the role that lands: the lock of another does
/// not keep it from writing meanwhile, and what it has gathered would stay.
fn is_of_pipelines(data: &Data) -> Result<(), Failure> {
    // It keeps there what it gathers.
    if !are_apart(data)? || data.folder.join("pipelines").is_dir() {
        return Ok(());
    }
    let text = format!(
        "{} is not the folder of the role pipelines, which has the tables: stop that role, and say \
         --data with its folder",
        data.folder.display()
    );
    Err(Failure::State(text))
}

async fn land_again(arguments: RestartArguments) -> Result<(), Failure> {
    let RestartArguments { name, from, yes, server, data } = arguments;
    if server.is_some() {
        let text = "a running node does not empty a table that it fills: stop it, or of roles apart \
                    the role pipelines, and say --data with its folder instead of --server";
        return Err(Failure::Usage(text.into()));
    }
    is_of_pipelines(&data)?;
    let node = node(&data)?;
    let pipeline = node
        .planned()
        .await?
        .into_iter()
        .find(|pipeline| pipeline.name == name)
        .ok_or_else(|| {
            Failure::State(format!("there is no pipeline {name}; avis pipelines list shows them"))
        })?;
    if let Some(folder) = pipeline.folder() {
        let text = format!(
            "{name} fills {}, and whoever takes files from there has them already: avis pipelines remove \
             {name}, and add its file with another path",
            folder.display()
        );
        return Err(Failure::State(text));
    }
    let begin = match from {
        From::Earliest => Begin::Earliest,
        From::Offset(offset) => Begin::Offset(offset),
        From::Instant(instant) => Begin::Instant(instant),
    };
    let lost = |topic: &Topic| {
        let starts = (0..node.log.partitions(*topic)).map(|at| node.log.start(*topic, at));
        Ok::<_, Failure>(starts.collect::<Result<Vec<_>, _>>()?.into_iter().sum::<u64>())
    };
    let lost: u64 = pipeline.topics().iter().map(lost).sum::<Result<u64, _>>()?;
    let is_whole = lost == 0 && begin == Begin::Earliest;
    if !is_whole {
        let what = match lost {
            0 => "what was before it".to_owned(),
            lost => format!("{lost} records that the streams do not keep any more"),
        };
        let text = format!(
            "{name} would be landed again without {what}; its table as it is would be gone"
        );
        confirm(yes, &text)?;
    }
    let table = node.table_anew(&name).await?;
    restart(&node.log, &pipeline, &table, &node.states(), begin).await?;
    println!("{name} is empty; avis up lands it again from {}", topics(&pipeline));
    Ok(())
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|source| Failure::Read { path: path.to_path_buf(), source })
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Writes pipelines for a cluster. What cannot be one there does not hide the others.
///
/// # Errors
/// Where an option is no `KEY=VALUE`, a pipeline means something else on a cluster, or the folder
/// cannot be written to.
fn export(arguments: ExportArguments) -> Result<(), Failure> {
    let ExportArguments { target, to, files, endpoint, topic_prefix, warehouse, storage, data } =
        arguments;
    let ExportTarget::Arroyo = target;
    let config = Config::load(data.config.as_deref(), std::env::vars())?;
    let storage = storage.iter().map(|option| match option.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(Failure::Usage(format!("--storage {option}: needs KEY=VALUE"))),
    });
    let target = cluster::Target {
        endpoint: endpoint.unwrap_or_else(|| config.fluvio.endpoint().to_owned()),
        topic_prefix: topic_prefix.unwrap_or_else(|| config.fluvio.topic_prefix().to_owned()),
        warehouse,
        storage: storage.collect::<Result<_, _>>()?,
    };
    let pipelines = to_export(&files, &data)?;
    let (mut written, mut faults) = (Vec::new(), 0);
    for (name, text) in &pipelines {
        match cluster::arroyo(SOURCES, (name.as_str(), text.as_str()), &target) {
            Ok(file) => {
                if written.is_empty() {
                    written.push(cluster::readme(name, &target));
                }
                written.push(file);
            }
            Err(error) => {
                faults += 1;
                eprintln!("{error}");
            }
        }
    }
    if !written.is_empty() {
        let failed = |source| Failure::Folder { path: to.clone(), source };
        std::fs::create_dir_all(&to).map_err(failed)?;
        for file in &written {
            std::fs::write(to.join(&file.name), &file.text).map_err(failed)?;
        }
        println!("{} files in {}; begin with README.md", written.len(), to.display());
    }
    match faults {
        0 => Ok(()),
        faults => Err(Failure::Invalid { faults, files: pipelines.len() }),
    }
}

/// The files that are named, or all of the node's, by their names.
fn to_export(files: &[PathBuf], data: &Data) -> Result<Vec<(String, String)>, Failure> {
    let mut pipelines: Vec<(String, String)> = Vec::new();
    let mut paths = files.to_vec();
    if paths.is_empty() {
        pipelines.extend(TABLES.iter().map(|(name, text)| ((*name).into(), (*text).into())));
        paths = own::files(&own_folder(&data.folder));
    }
    for path in paths {
        let name = stem(&path);
        if pipelines.iter().any(|(known, _)| *known == name) {
            let path = path.display();
            let text =
                format!("{path}: another pipeline is named {name}, so one would take its file");
            return Err(Failure::Usage(text));
        }
        pipelines.push((name, read(&path)?));
    }
    Ok(pipelines)
}
