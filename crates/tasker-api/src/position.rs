//! Positions in a text, for messages.

/// Line and column of a byte offset, both from 1. Columns count characters. An offset that is beyond the text or
/// inside a character gives the position of the first character.
pub fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_1() {
        let text = "a\n\u{e9}b\n";
        for (offset, position) in [(0, (1, 1)), (1, (1, 2)), (2, (2, 1)), (4, (2, 2)), (6, (3, 1))] {
            assert_eq!(line_and_column(text, offset), position, "{offset}");
        }
        assert_eq!((line_and_column(text, 3), line_and_column(text, 7)), ((1, 1), (1, 1)));
    }
}
