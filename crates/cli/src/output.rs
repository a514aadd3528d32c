//! How text is laid out: tables, JSON, YAML, ages. What goes into them is decided in `object` and `commands`.

use serde::Serialize;

use crate::failure::Failure;

/// kubectl's spacing between columns.
const COLUMN_GAP: usize = 3;
/// kubectl's least width of a column, gap included.
const COLUMN_WIDTH_MIN: usize = 6;

/// A table: a header and rows, all of the same number of cells.
#[derive(Debug, Clone, Default)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new(header: Vec<&'static str>) -> Table {
        Table { header, rows: Vec::new() }
    }

    /// Adds a row. A row with another number of cells than the header is a mistake of the caller.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.header.len(), "a row has as many cells as the header");
        self.rows.push(cells);
    }

    /// The table with its header, in kubectl's spacing; no spaces at the end of lines.
    pub fn render(&self) -> String {
        let header = self.header.iter().map(|it| (*it).to_owned()).collect();
        Table::lay_out(&self.widths(), std::iter::once(&header).chain(&self.rows))
    }

    /// The rows alone.
    pub fn render_rows(&self) -> String {
        Table::lay_out(&self.widths(), self.rows.iter())
    }

    fn widths(&self) -> Vec<usize> {
        (0..self.header.len())
            .map(|at| {
                let cells = self.rows.iter().map(|row| row[at].chars().count());
                let widest = cells.chain([self.header[at].len()]).max().unwrap_or(0);
                (widest + COLUMN_GAP).max(COLUMN_WIDTH_MIN)
            })
            .collect()
    }

    fn lay_out<'a>(widths: &[usize], rows: impl Iterator<Item = &'a Vec<String>>) -> String {
        let mut text = String::new();
        for row in rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// JSON as kubectl prints it: four spaces, a newline at the end.
pub fn json(value: &impl Serialize) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value
        .serialize(&mut serializer)
        .map_err(|error| Failure::local(format!("cannot write JSON: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| Failure::local("cannot write JSON: not UTF-8"))?;
    // Go escapes these wherever they stand in a string; outside of strings JSON has none of them.
    Ok(go_escaped(&text) + "\n")
}

/// JSON on one line, for streams.
pub fn json_line(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::local(format!("cannot write JSON: {error}")))?;
    Ok(go_escaped(&text) + "\n")
}

fn go_escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => text.push_str("\\u003c"),
            '>' => text.push_str("\\u003e"),
            '&' => text.push_str("\\u0026"),
            '\u{2028}' => text.push_str("\\u2028"),
            '\u{2029}' => text.push_str("\\u2029"),
            other => text.push(other),
        }
    }
    text
}

/// YAML as kubectl prints it: two spaces, lists not indented, long strings on one line.
pub fn yaml(value: &impl Serialize) -> Result<String, Failure> {
    let options = serde_saphyr::ser_options! { compact_list_indent: true, prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options)
        .map_err(|error| Failure::local(format!("cannot write YAML: {error}")))
}

/// The same value with the keys of all objects sorted, which is how kubectl writes YAML.
pub fn sorted(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}

/// An age as kubectl prints it: two units at most, the second only where it still matters.
pub fn age(milliseconds: i64) -> String {
    let seconds = milliseconds / 1_000;
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |whole: i64, unit: &str, rest: i64, rest_unit: &str| match rest {
        0 => format!("{whole}{unit}"),
        rest => format!("{whole}{unit}{rest}{rest_unit}"),
    };
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        two(minutes, "m", seconds % 60, "s")
    } else if hours < 3 {
        format!("{minutes}m")
    } else if hours < 8 {
        two(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if days < 8 {
        two(days, "d", hours % 24, "h")
    } else if days < 2 * 365 {
        format!("{days}d")
    } else if days < 8 * 365 {
        two(days / 365, "y", days % 365, "d")
    } else {
        format!("{}y", days / 365)
    }
}

/// A point in time in RFC 3339 with whole seconds, as Kubernetes writes it.
pub fn timestamp(milliseconds: i64) -> String {
    match jiff::Timestamp::from_millisecond(milliseconds) {
        Ok(at) => at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => "<invalid>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_spaced_as_kubectl_spaces_it() {
        let mut table = Table::new(vec!["NAME", "TYPE", "DATA", "AGE"]);
        table.row(["my-secret", "kubernetes.io/dockerconfigjson", "1", "5s"].map(str::to_owned).to_vec());
        assert_eq!(
            table.render(),
            "NAME        TYPE                             DATA   AGE\n\
             my-secret   kubernetes.io/dockerconfigjson   1      5s\n"
        );
    }

    #[test]
    fn ages_read_as_in_kubectl() {
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (3 * 3_600 - 1, "179m"),
            (3 * 3_600, "3h"),
            (3 * 3_600 + 300, "3h5m"),
            (8 * 3_600 + 300, "8h"),
            (47 * 3_600, "47h"),
            (48 * 3_600, "2d"),
            (50 * 3_600, "2d2h"),
            (9 * 86_400, "9d"),
            (700 * 86_400, "700d"),
            (800 * 86_400, "2y70d"),
            (9 * 365 * 86_400, "9y"),
        ];
        for (seconds, text) in cases {
            assert_eq!(age(seconds * 1_000), text);
        }
    }

    #[test]
    fn yaml_quotes_what_would_read_as_another_type_and_breaks_no_line() {
        let long = "x".repeat(300);
        let value =
            serde_json::json!({"a": "123", "b": "true", "c": long, "d": null, "e": ["x", {"z": "1e3"}]});
        assert_eq!(
            yaml(&value).unwrap(),
            format!("a: \"123\"\nb: \"true\"\nc: {long}\nd: null\ne:\n- x\n- z: \"1e3\"\n")
        );
    }

    #[test]
    fn times_have_whole_seconds() {
        assert_eq!(timestamp(1_764_000_000_999), "2025-11-24T16:00:00Z");
    }
}
