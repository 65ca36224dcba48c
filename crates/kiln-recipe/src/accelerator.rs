//! `accelerators/NAME.toml`.

use crate::{
    component::{self, Context, Places},
    model::{
        Accelerator, AcceleratorKind, ComponentId, Cuda, CudaDriver, CudaFlavour, CudaVersion,
    },
    name::is_name_part,
    parts::archive,
    reader::Table,
};

/// Reads an accelerator's file.
pub(crate) fn read(
    mut table: Table<'_>,
    id: ComponentId,
    dir: &str,
    context: &Context<'_>,
) -> (Accelerator, Places) {
    let (component, places) = component::read(&mut table, id, dir, context);
    let names = AcceleratorKind::ALL.map(|kind| (kind.name(), kind));
    let kind = table.word("kind", "kinds", &names);
    let kind = kind.unwrap_or(AcceleratorKind::Cpu);
    let code = code(&mut table, kind);
    let cuda = cuda(&mut table, kind);
    let archives = table.tables("archive").into_iter();
    let archives = archives
        .filter_map(|table| archive(table, None, context))
        .collect();
    table.finish();
    let accelerator = Accelerator {
        component,
        kind,
        code,
        cuda,
        archives,
    };
    (accelerator, places)
}

/// What stands for the accelerator in image names.
fn code(table: &mut Table<'_>, kind: AcceleratorKind) -> Option<String> {
    let said = table.text("code");
    if kind == AcceleratorKind::Cpu {
        if let Some(text) = said {
            text.error(
                "names of images without an accelerator say nothing of it, so there is no `code`",
                Some("say what it is with `kind`, such as `kind = \"cuda\"`".to_owned()),
            );
        }
        return None;
    }
    let Some(text) = said else {
        return Some(kind.name().to_owned());
    };
    if !is_name_part(&text.value) {
        text.error(
            format!("`{}` cannot stand in image names", text.value),
            Some("lowercase letters, digits and dots, such as `cuda12.devel`".to_owned()),
        );
    }
    Some(text.value)
}

fn cuda(table: &mut Table<'_>, kind: AcceleratorKind) -> Option<Cuda> {
    const HINT: &str = "`[cuda]` with `version = \"12.9\"` and `flavour = \"runtime\"`";
    if table.is_boolean("cuda") {
        let span = table.take_span("cuda")?;
        table.source.error(
            &span,
            "`cuda` is a table, no longer `true` or `false`",
            Some(format!("write `kind = \"cuda\"` and a table {HINT}")),
        );
        return None;
    }
    let is_cuda = kind == AcceleratorKind::Cuda;
    let Some(mut cuda) = table.table("cuda") else {
        if is_cuda && !table.has("cuda") {
            table.error(
                "missing the table `[cuda]`: which toolkit an accelerator of kind `cuda` has",
                Some(HINT.to_owned()),
            );
        }
        return None;
    };
    if !is_cuda {
        cuda.error(
            format!("an accelerator of kind `{kind}` has no CUDA toolkit"),
            Some("write `kind = \"cuda\"` above, or remove the table".to_owned()),
        );
    }
    let at = cuda.source.spot(&cuda.span()).at;
    let version = cuda.required("version").and_then(|text| {
        let version = CudaVersion::leading(&text.value);
        let version = version.filter(|it| it.to_string() == text.value);
        if version.is_none() {
            text.error(
                format!("`{}` is not a version of the CUDA toolkit", text.value),
                Some("major and minor, such as `12.9`".to_owned()),
            );
        }
        version
    });
    let flavours = CudaFlavour::ALL.map(|it| (it.name(), it));
    if cuda.lacks("flavour") {
        cuda.error(
            "missing `flavour` in `[cuda]`",
            Some("`base`, `runtime` or `devel`".to_owned()),
        );
    }
    let flavour = cuda.word("flavour", "flavours", &flavours);
    let cudnn = cuda.boolean("cudnn", false);
    let drivers = CudaDriver::ALL.map(|it| (it.name(), it));
    let driver = cuda.word("driver", "values", &drivers);
    cuda.finish();
    Some(Cuda {
        version: version?,
        flavour: flavour?,
        cudnn,
        driver: driver.unwrap_or(CudaDriver::Major),
        at,
    })
}
