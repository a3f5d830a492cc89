package manifest

import (
	"bytes"

	helmchart "helm.sh/helm/v4/pkg/chart/v2"
)

// Base is a version of a chart with which others are compared, such as the
// one that runs. It is rendered when it is first needed, and kept: eight
// comparisons with it are nine renderings. It keeps the archive and the objects.
// It is not for several goroutines at once.
type Base struct {
	archive []byte
	options Options
	strict  *outcome
	lenient *outcome
}

// outcome is what came of a rendering.
type outcome struct {
	rendered Rendered
	err      error
}

// NewBase makes a base of an archive, which must not change after it.
// Nothing is read yet.
func NewBase(archive []byte, o Options) *Base {
	return &Base{archive: archive, options: o.orDefault()}
}

// Archive is what the base was made of.
func (b *Base) Archive() []byte { return b.archive }

// Compare is CompareCharts of the base with another archive. Of the baseline
// with itself it renders once.
func (b *Base) Compare(archive []byte) (Comparison, error) {
	e, err := b.examine(archive, b.options.KubeVersion)
	if err != nil {
		return Comparison{}, err
	}
	return e.comparison(b.options), nil
}

// renderOwn renders the chart of the base, once.
func (b *Base) renderOwn(c *helmchart.Chart, o Options) *outcome {
	kept := &b.strict
	if o.Lenient {
		kept = &b.lenient
	}
	if *kept == nil {
		*kept = &outcome{}
		(*kept).rendered, (*kept).err = render(c, o)
	}
	return *kept
}

// render renders both charts of a comparison, that of the base once for all.
func (b *Base) render(charts [2]*helmchart.Chart, other []byte, o Options) (rendered [2]Rendered, failed [2]error) {
	own := b.renderOwn(charts[0], o)
	rendered[0], failed[0] = own.rendered, own.err
	if bytes.Equal(b.archive, other) {
		return [2]Rendered{rendered[0], rendered[0]}, [2]error{failed[0], failed[0]}
	}
	rendered[1], failed[1] = render(charts[1], o)
	return rendered, failed
}
