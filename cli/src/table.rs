//! Columns padded with blanks, as Kafka's tools print them.

/// Pads `cells` to `widths` and joins them with one blank. A cell without a width, usually the last,
/// stays as it is.
pub fn row<T: AsRef<str>>(widths: &[usize], cells: &[T]) -> String {
    let mut line = String::new();
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            line.push(' ');
        }
        match widths.get(index) {
            Some(&width) => line.push_str(&format!("{:<width$}", cell.as_ref())),
            None => line.push_str(cell.as_ref()),
        }
    }
    line
}

/// The widest of `cells`, but at least `minimum`.
pub fn width<'a>(minimum: usize, cells: impl IntoIterator<Item = &'a str>) -> usize {
    cells
        .into_iter()
        .map(|cell| cell.chars().count())
        .fold(minimum, usize::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_every_column_but_the_last() {
        assert_eq!(row(&[5, 3], &["a", "b", "c"]), "a     b   c");
    }

    #[test]
    fn a_wide_cell_pushes_the_rest() {
        assert_eq!(row(&[2], &["abc", "d"]), "abc d");
    }

    #[test]
    fn the_widest_cell_decides() {
        assert_eq!(width(3, ["a", "abcd"]), 4);
        assert_eq!(width(3, ["a"]), 3);
    }
}
