package cli

import (
	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// judged is what evidence comes to.
type judged struct {
	File string `json:"file"`
	client.Judgement
	Claimed client.Evidence `json:"evidence"` // as it is in the file, the finder's words too
}

func (judged) schema() string { return "evidence-judgement/v1" }

func (r judged) keys() []string { return []string{r.verdict()} }

func (r judged) verdict() string {
	if r.Convicted {
		return "convicted"
	}
	return "not-convicted"
}

func (r judged) view() view {
	facts := []fact{{"evidence", r.File}, {"log", r.Origin}, {"kind", r.Kind}, {"finder says", r.Claimed.Found}, {"found", stampSeconds(r.Claimed.Time)}}
	return view{{facts: facts}, checksBlock(r.Checks), {facts: []fact{{"verdict", r.verdict()}, {"statement", r.Statement}}}}
}

// judgeEvidence judges an evidence file.
func (a *app) judgeEvidence(opt verifyOptions, key string) (result, error) {
	text, err := readFile(opt.evidence, client.MaxEvidence)
	if err != nil {
		return nil, asUsage(err)
	}
	e, err := client.ParseEvidence(text)
	if err != nil {
		return nil, asUsage(err)
	}
	var more [][]byte
	if opt.proof != "" {
		proof, err := readFile(opt.proof, tlog.MaxProof)
		if err != nil {
			return nil, asUsage(err)
		}
		more = append(more, proof)
	}
	j, err := e.Judge(key, more...)
	if err != nil {
		return nil, asUsage(err)
	}
	r := judged{opt.evidence, j, e}
	if j.Convicted {
		return r, problem.New(problem.Disproven, "evidence", "%s", j.Statement).
			Suggest("trust nothing that this log says; keep the evidence, and show it to all who use the log")
	}
	return r, problem.New(problem.Unavailable, "evidence", "%s does not convict the log %s", opt.evidence, j.Origin)
}
