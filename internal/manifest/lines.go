package manifest

import (
	"fmt"
	"strings"
)

// Bounds of line differences. What is over them is told as wholly removed and
// wholly added, which is true, if longer than it had to be.
const (
	maxEdits     = 600        // lines that differ between two texts
	maxDiffWork  = 20_000_000 // steps in one comparison of charts, about 2 ns each
	contextLines = 3
)

// edit is one line of a difference: ' ' on both sides, '-' on the old alone,
// '+' on the new.
type edit struct {
	kind byte
	text string
}

// lineDiffer compares texts line by line, within an amount of work that all of
// them share.
type lineDiffer struct{ work int }

// lines are the edits that make the new text of the old one: as few as can be
// (E. Myers, An O(ND) Difference Algorithm, 1986), within the bounds.
func (d *lineDiffer) lines(old, new []string) []edit {
	head := 0
	for head < min(len(old), len(new)) && old[head] == new[head] {
		head++
	}
	tail := 0
	for tail < min(len(old), len(new))-head && old[len(old)-1-tail] == new[len(new)-1-tail] {
		tail++
	}
	var out []edit
	for _, l := range old[:head] {
		out = append(out, edit{' ', l})
	}
	out = append(out, d.middle(old[head:len(old)-tail], new[head:len(new)-tail])...)
	for _, l := range old[len(old)-tail:] {
		out = append(out, edit{' ', l})
	}
	return out
}

// middle compares what two texts do not have in common at their ends.
func (d *lineDiffer) middle(a, b []string) []edit {
	var out []edit
	// furthest[n][k+n] is how far into a the furthest path of n edits comes on
	// diagonal k, which is that far into b minus k.
	var furthest [][]int
	found := len(a) == 0 || len(b) == 0
	last := []int{0, 0, 0}
	for n := 0; !found && n <= maxEdits && d.work > 0; n++ {
		row := make([]int, 2*n+3) // k from -n-1 to n+1, so that neighbours are there
		for k := -n; k <= n; k += 2 {
			x := 0
			switch {
			case n == 0:
			case k == -n || k != n && last[k-1+n] < last[k+1+n]:
				x = last[k+1+n]
			default:
				x = last[k-1+n] + 1
			}
			for x < len(a) && x-k < len(b) && x-k >= 0 && a[x] == b[x-k] {
				x, d.work = x+1, d.work-1
			}
			d.work--
			if row[k+n+1] = x; k == len(a)-len(b) && x >= len(a) {
				found = true
				break
			}
		}
		furthest = append(furthest, row)
		last = row
	}
	if !found || len(furthest) == 0 {
		for _, l := range a {
			out = append(out, edit{'-', l})
		}
		for _, l := range b {
			out = append(out, edit{'+', l})
		}
		return out
	}
	return walkBack(a, b, furthest)
}

// walkBack follows the path of the fewest edits from its end.
func walkBack(a, b []string, furthest [][]int) []edit {
	out := make([]edit, 0, len(a)+len(b))
	x, y := len(a), len(b)
	for n := len(furthest) - 1; n > 0; n-- {
		row := furthest[n-1]
		k := x - y
		at := func(k int) int { // in the row before
			if i := k + n; i >= 0 && i < len(row) {
				return row[i]
			}
			return -1
		}
		down := k == -n || k != n && at(k-1) < at(k+1)
		from := k - 1
		if down {
			from = k + 1
		}
		startX := at(from)
		startY := startX - from
		for x > startX && y > startY && (!down || y > startY+1) && (down || x > startX+1) {
			x, y = x-1, y-1
			out = append(out, edit{' ', a[x]})
		}
		if down {
			y--
			out = append(out, edit{'+', b[y]})
		} else {
			x--
			out = append(out, edit{'-', a[x]})
		}
	}
	for x > 0 {
		x--
		out = append(out, edit{' ', a[x]})
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// unified writes edits as hunks with lines of context, at most so many lines,
// each of a bounded length. It is cut where there are more.
func unified(edits []edit, most int) (text string, cut bool) {
	near := make([]bool, len(edits)) // within the context of a change
	for i, e := range edits {
		if e.kind != ' ' {
			for j := max(0, i-contextLines); j <= min(len(edits)-1, i+contextLines); j++ {
				near[j] = true
			}
		}
	}
	var out strings.Builder
	lines, oldLine, newLine := 0, 1, 1
	for i := 0; i < len(edits); {
		if !near[i] {
			i, oldLine, newLine = i+1, oldLine+1, newLine+1
			continue
		}
		end, olds, news := i, 0, 0
		for end < len(edits) && near[end] {
			if edits[end].kind != '+' {
				olds++
			}
			if edits[end].kind != '-' {
				news++
			}
			end++
		}
		if lines+2 > most {
			return out.String(), true
		}
		fmt.Fprintf(&out, "@@ -%s +%s @@\n", span(oldLine, olds), span(newLine, news))
		lines++
		for ; i < end; i++ {
			if lines++; lines > most {
				return out.String(), true
			}
			out.WriteByte(edits[i].kind)
			out.WriteString(shortLine(edits[i].text))
			out.WriteByte('\n')
		}
		oldLine, newLine = oldLine+olds, newLine+news
	}
	return out.String(), false
}

// span is the place of a hunk as diff writes it: an empty one stands behind the
// line before it.
func span(first, n int) string {
	switch n {
	case 0:
		return fmt.Sprintf("%d,0", first-1)
	case 1:
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d,%d", first, n)
}

// maxLine bounds a line that is shown, in bytes.
const maxLine = 400

func shortLine(s string) string {
	if len(s) <= maxLine {
		return s
	}
	return strings.ToValidUTF8(s[:maxLine], "") + " …"
}
