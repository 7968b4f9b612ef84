//! Settings of `plan`, as typed.

use clap::Args;

use super::RunArgs;

/// Settings of `plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// The run
    #[command(flatten)]
    pub run: RunArgs,
    /// Memory there is, as 4GiB or 500MB; on the CPU what is free if left out
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Bytes from a number with a unit.
fn size(text: &str) -> Result<usize, String> {
    let units = [
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
    ];
    let unit = units.into_iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)));
    let number = unit.and_then(|(number, bytes)| {
        let number: f64 = number.trim().parse().ok()?;
        (number.is_finite() && number > 0.0).then_some((number * f64::from(bytes)) as usize)
    });
    number.ok_or_else(|| "give a number with GiB, MiB, KiB, GB or MB, as 4GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn a_size_has_a_unit() {
        assert_eq!(size("4GiB"), Ok(4 << 30));
        assert_eq!(size("1.5 MB"), Ok(1_500_000));
        for wrong in ["4", "GiB", "-1GiB", "many GiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
