//! `kiln inspect`: an image of the store.

use serde_json::{Value, json};

use crate::{
    args::{Global, Inspect, Raw},
    error::Failure,
    exit,
    output::{Output, bytes, shortened},
    project, stored,
};

pub(crate) fn run(args: &Inspect, global: &Global, output: &Output) -> Result<(), Failure> {
    let store = project::store(global)?;
    let name = stored::one(&store, global, &args.image)?;
    let image = stored::image(&store, &name, args.platform)?;
    let raw = match args.raw {
        Some(Raw::Manifest) => Some(&image.manifest_bytes),
        Some(Raw::Config) => Some(&image.config_bytes),
        None => None,
    };
    if let Some(raw) = raw {
        output.line(String::from_utf8_lossy(raw));
        return Ok(());
    }
    let config: Value = serde_json::from_slice(&image.config_bytes).map_err(|error| Failure {
        causes: vec![error.to_string()],
        ..Failure::new(exit::INTEGRITY, "the image's configuration cannot be read")
    })?;
    if output.is_json() {
        output.json(&json!({
            "image": name, "platform": image.platform.to_string(), "manifest": image.manifest_digest, "config_digest": image.config_digest,
            "layers": image.layers, "config": config,
        }));
        return Ok(());
    }
    output.line(&name);
    output.line(format!("  manifest    {}", image.manifest_digest));
    output.line(format!("  config      {}", image.config_digest));
    output.line(format!("  platform    {}", image.platform));
    output.line(format!("  created     {}", text(&config["created"])));
    let settings = &config["config"];
    output.line(format!("  user        {}", text(&settings["User"])));
    output.line(format!("  directory   {}", text(&settings["WorkingDir"])));
    output.line(format!("  entrypoint  {}", words(&settings["Entrypoint"])));
    let ports = settings["ExposedPorts"].as_object();
    let ports = ports.map(|ports| ports.keys().cloned().collect::<Vec<_>>().join(" "));
    output.line(format!("  ports       {}", ports.unwrap_or_default()));
    output.line("  environment");
    for variable in settings["Env"].as_array().into_iter().flatten() {
        output.line(format!("    {}", text(variable)));
    }
    output.line("  labels");
    for (key, value) in settings["Labels"].as_object().into_iter().flatten() {
        output.line(format!("    {key}={}", text(value)));
    }
    output.line("  layers");
    let history = config["history"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    for (index, layer) in image.layers.iter().enumerate() {
        let made = history.get(index);
        let by = made
            .map(|made| text(&made["created_by"]))
            .unwrap_or_default();
        let what = made.map(|made| text(&made["comment"])).unwrap_or_default();
        output.line(format!(
            "    {}  {:>9}  {:>9} unpacked  {by}: {}",
            layer.digest.short(),
            bytes(layer.size),
            bytes(layer.unpacked_size),
            packages(what, output.verbosity),
        ));
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn words(value: &Value) -> String {
    let words = value.as_array().into_iter().flatten();
    words.map(text).collect::<Vec<_>>().join(" ")
}

/// The list of packages, cut to what fits a line unless the user wants all.
fn packages(what: &str, verbosity: i8) -> String {
    const WIDTH: usize = 60;
    if verbosity > 0 {
        return what.to_owned();
    }
    shortened(what, WIDTH)
}
