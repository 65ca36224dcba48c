//! The steps that can run, and which is next: largest first, within a budget of memory, one compiler
//! at a time.

use std::{cmp::Reverse, collections::BinaryHeap};

use kiln_digest::Digest;
use kiln_plan::{Kind, Step};

/// Bytes that the running steps together may hold in anonymous memory.
const BUDGET: u64 = 256 << 20;

/// What is set aside for Python's compiler, on two cores.
const PYTHON: u64 = 192 << 20;

/// What is set aside for the compilers of a source distribution. Some hold 350 MB, so what runs beside them
/// is little.
const OTHER: u64 = 240 << 20;

/// What runs a compiler. Compilers take more memory than everything else, so one runs at a time:
/// two would double that, and be no sooner done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compiler {
    /// Python's, of this runtime, in a process for each core. What has the runtime in common is
    /// cheaper to compile together.
    Python(Digest),
    /// What a source distribution asks for.
    Other,
}

impl Compiler {
    fn memory(self) -> u64 {
        match self {
            Self::Python(_) => PYTHON,
            Self::Other => OTHER,
        }
    }
}

/// Who waits for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// Nobody.
    No,
    /// Other steps.
    BySteps,
    /// Scripts among them.
    ByScripts,
}

/// Whether it runs scripts: one after another, and mostly on one core.
pub(crate) fn is_script(step: &Step) -> bool {
    matches!(step.action.kind, Kind::Configure(_) | Kind::Run(_))
}

/// What choosing needs to know of a step.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    step: usize,
    /// What is taken first: what scripts wait for, what others wait for, then scripts themselves. Compiling
    /// modules, which wants to be done in large batches and by every core, comes last.
    class: u8,
    /// Bytes of its inputs: among equals the largest comes first.
    size: u64,
    /// What it may hold.
    memory: u64,
    compiler: Option<Compiler>,
    is_script: bool,
}

/// The class of what scripts wait for.
const URGENT: u8 = 4;

impl Candidate {
    /// The step at a place of its plan, and who waits for it.
    pub(crate) fn new(place: usize, step: &Step, awaited: Awaited) -> Self {
        let compiler = match &step.action.kind {
            Kind::Bytecode(bytecode) => Some(Compiler::Python(bytecode.runtime)),
            Kind::BuildWheel(_) => Some(Compiler::Other),
            _ => None,
        };
        let class = match (&step.action.kind, awaited) {
            (Kind::Bytecode(_), _) => 0,
            (_, Awaited::ByScripts) => URGENT,
            (_, Awaited::BySteps) => 3,
            _ if is_script(step) => 2,
            _ => 1,
        };
        let size: u64 = step.inputs.iter().map(|input| input.size).sum();
        Self {
            step: place,
            class,
            size,
            // A layer writer's buffers at most, and never more than a few times the input. (What
            // other programs than compilers hold in a sandbox is theirs.)
            memory: match compiler {
                Some(compiler) => compiler.memory(),
                None => size.saturating_mul(4).clamp(4 << 20, 96 << 20),
            },
            compiler,
            is_script: is_script(step),
        }
    }

    fn rank(&self) -> (u8, u64, Reverse<usize>) {
        (self.class, self.size, Reverse(self.step))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// Steps that one worker runs together.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Their places in the plan, in its order.
    pub(crate) steps: Vec<usize>,
    memory: u64,
    compiles: bool,
    is_urgent: bool,
}

/// The steps that can run, and what those that do run hold.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    candidates: BinaryHeap<Candidate>,
    /// Bytes that running steps may hold.
    memory: u64,
    /// Whether one of them runs a compiler.
    compiling: bool,
    /// How many of them are packing, and scripts wait for it. Packing takes all cores by itself; what else
    /// begins meanwhile makes the scripts begin later, and when they run there is a core for it.
    urgent: usize,
}

impl Ready {
    pub(crate) fn push(&mut self, candidate: Candidate) {
        self.candidates.push(candidate);
    }

    /// What is to run now, if anything may: the first step, with others that are cheaper to run together
    /// with it. Steps that are not wanted are dropped.
    pub(crate) fn take(&mut self, is_wanted: impl Fn(usize) -> bool) -> Option<Batch> {
        let mut waiting = Vec::new();
        let mut first = None;
        while let Some(candidate) = self.candidates.pop() {
            if !is_wanted(candidate.step) {
                continue;
            }
            let is_free = candidate.compiler.is_none() || !self.compiling;
            let fits = self.memory == 0 || self.memory + candidate.memory <= BUDGET;
            let has_time = self.urgent > 0 && candidate.class != URGENT && !candidate.is_script;
            if is_free && fits && !has_time {
                first = Some(candidate);
                break;
            }
            waiting.push(candidate);
            // What waits for memory is overtaken while a compiler runs, and not for ever.
            if !self.compiling && !has_time {
                break;
            }
        }
        self.candidates.extend(waiting);
        let first = first?;
        let mut steps = vec![first.step];
        if matches!(first.compiler, Some(Compiler::Python(_))) {
            let all = std::mem::take(&mut self.candidates).into_iter();
            let (same, others): (BinaryHeap<_>, BinaryHeap<_>) =
                all.partition(|it| it.compiler == first.compiler);
            self.candidates = others;
            let same = same.iter().map(|it| it.step);
            steps.extend(same.filter(|&step| is_wanted(step)));
            steps.sort_unstable();
        }
        let batch = Batch {
            steps,
            memory: first.memory,
            compiles: first.compiler.is_some(),
            is_urgent: first.class == URGENT && !first.is_script && first.compiler.is_none(),
        };
        self.memory += batch.memory;
        self.compiling |= batch.compiles;
        self.urgent += usize::from(batch.is_urgent);
        Some(batch)
    }

    /// A batch has ended.
    pub(crate) fn ended(&mut self, batch: &Batch) {
        self.memory -= batch.memory;
        self.urgent -= usize::from(batch.is_urgent);
        if batch.compiles {
            self.compiling = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: fn(usize) -> bool = |_| true;

    fn packing(step: usize, size: u64) -> Candidate {
        Candidate {
            step,
            class: 1,
            size,
            memory: size,
            compiler: None,
            is_script: false,
        }
    }

    fn compiling(step: usize, compiler: Compiler) -> Candidate {
        Candidate {
            step,
            class: if compiler == Compiler::Other { 3 } else { 0 },
            size: 1,
            memory: compiler.memory(),
            compiler: Some(compiler),
            is_script: false,
        }
    }

    fn python(name: &str) -> Compiler {
        Compiler::Python(Digest::of(name.as_bytes()))
    }

    fn ready(candidates: impl IntoIterator<Item = Candidate>) -> Ready {
        let mut ready = Ready::default();
        candidates.into_iter().for_each(|it| ready.push(it));
        ready
    }

    fn taken(ready: &mut Ready) -> Option<Vec<usize>> {
        ready.take(ALL).map(|batch| batch.steps)
    }

    #[test]
    fn the_largest_comes_first_and_of_equals_the_first() {
        let mut ready = ready([packing(0, 1), packing(2, 5), packing(1, 5), packing(3, 2)]);
        let order: Vec<_> = std::iter::from_fn(|| taken(&mut ready)).collect();
        assert_eq!(order, [[1], [2], [3], [0]]);
    }

    #[test]
    fn what_waits_for_memory_is_not_overtaken() {
        let mut ready = ready([packing(0, BUDGET - 1), packing(1, 2), packing(2, 1)]);
        let large = ready.take(ALL).unwrap();
        assert_eq!(large.steps, [0]);
        assert_eq!(taken(&mut ready), None);
        ready.ended(&large);
        assert_eq!(taken(&mut ready), Some(vec![1]));
        assert_eq!(taken(&mut ready), Some(vec![2]));
    }

    #[test]
    fn a_step_larger_than_the_budget_runs_alone() {
        let mut ready = ready([packing(0, BUDGET + 1)]);
        assert_eq!(taken(&mut ready), Some(vec![0]));
    }

    #[test]
    fn one_compiler_runs_at_a_time_and_others_pass() {
        let mut ready = ready([
            compiling(0, Compiler::Other),
            compiling(1, Compiler::Other),
            compiling(2, python("3.11")),
            packing(3, BUDGET - OTHER + 1),
            packing(4, 7),
        ]);
        let first = ready.take(ALL).unwrap();
        assert_eq!(first.steps, [0]);
        assert_eq!(taken(&mut ready), Some(vec![4]), "3 does not fit beside it");
        assert_eq!(taken(&mut ready), None);
        ready.ended(&first);
        let second = ready.take(ALL).unwrap();
        assert_eq!(second.steps, [1]);
        assert_eq!(taken(&mut ready), None);
        ready.ended(&second);
        assert_eq!(taken(&mut ready), Some(vec![3]), "modules come last");
    }

    #[test]
    fn while_scripts_wait_for_something_nothing_else_begins_but_scripts() {
        let urgent = |step| Candidate {
            class: URGENT,
            ..packing(step, 1)
        };
        let script = Candidate {
            class: 2,
            is_script: true,
            ..packing(4, 1)
        };
        let mut ready = ready([urgent(0), urgent(1), packing(2, 9)]);
        let batches = [ready.take(ALL).unwrap(), ready.take(ALL).unwrap()];
        assert_eq!(batches.each_ref().map(|it| it.steps[0]), [0, 1]);
        assert_eq!(taken(&mut ready), None);
        ready.ended(&batches[0]);
        assert_eq!(taken(&mut ready), None);
        ready.push(script.clone());
        assert_eq!(taken(&mut ready), Some(vec![4]), "the tree was there first");
        ready.ended(&batches[1]);
        let base = Candidate {
            class: URGENT,
            ..script
        };
        ready.push(base);
        assert_eq!(taken(&mut ready), Some(vec![4]));
        assert_eq!(taken(&mut ready), Some(vec![2]), "scripts need one core");
    }

    #[test]
    fn modules_of_one_python_are_compiled_together() {
        let mut ready = ready([
            compiling(0, python("3.11")),
            compiling(1, python("3.13")),
            compiling(2, python("3.11")),
            compiling(3, python("3.11")),
        ]);
        let batch = ready.take(|step| step != 2).unwrap();
        assert_eq!(batch.steps, [0, 3]);
        assert_eq!(taken(&mut ready), None);
        ready.ended(&batch);
        assert_eq!(taken(&mut ready), Some(vec![1]));
    }
}
