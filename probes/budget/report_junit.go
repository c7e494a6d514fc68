package budget

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// The elements of JUnit's report, in the order that both published schemas ask for (that of Apache Ant's task, by Windy
// Road, and Jenkins' junit-10), with the attributes that either requires and both allow.
type junitSuites struct {
	XMLName xml.Name   `xml:"testsuites"`
	Suite   junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Package    string          `xml:"package,attr"`
	ID         int             `xml:"id,attr"`
	Hostname   string          `xml:"hostname,attr"`
	Timestamp  string          `xml:"timestamp,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Properties junitProperties `xml:"properties"`
	Cases      []junitCase     `xml:"testcase"`
	Out        string          `xml:"system-out"`
	Err        string          `xml:"system-err"`
}

type junitProperties struct {
	List []junitProperty `xml:"property"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Time    string        `xml:"time,attr"`
	Skipped *junitSkipped `xml:"skipped,omitempty"`
	Error   *junitProblem `xml:"error,omitempty"`
	Failure *junitProblem `xml:"failure,omitempty"`
}

type junitSkipped struct {
	Message string `xml:"message,attr"`
}

type junitProblem struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes the report as JUnit XML, a test case for each verdict. What is inconclusive is skipped, or failed when
// the policy says so; a target that was not reached is an error.
func (r *Report) WriteJUnit(w io.Writer, p Policy) error {
	elapsed := fmt.Sprintf("%.3f", r.Elapsed.Seconds())
	s := junitSuite{Name: "nrprobe check", Package: "nrprobe", Hostname: "localhost", Timestamp: r.Start.UTC().Format("2006-01-02T15:04:05"), Time: elapsed}
	for _, list := range []struct {
		name   string
		values []string
	}{{"target", r.Conditions.Targets}, {"agent", r.Conditions.Agents}, {"interface", words(r.Conditions.Interface)}, {"rat", r.Conditions.RATs}, {"version", r.Conditions.Versions}} {
		for _, v := range list.values {
			s.Properties.List = append(s.Properties.List, junitProperty{list.name, oneLine(v)})
		}
	}
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		c := junitCase{Name: oneLine(v.Name), Class: "nrprobe.check." + string(v.Against), Time: fmt.Sprintf("%.3f", r.Elapsed.Seconds()/float64(len(r.Verdicts)))}
		problem := &junitProblem{Message: oneLine(v.Reason), Type: string(v.Outcome), Text: printable(v.Criterion.Asks() + "\n" + v.Reason + "\n")}
		switch {
		case v.Outcome == Fail || v.Outcome == Inconclusive && p == InconclusiveIsFail && r.Err == nil:
			c.Failure = problem
			s.Failures++
		case v.Outcome == Inconclusive && r.Err != nil:
			problem.Message, problem.Type = oneLine(r.Err.Error()), "unreachable"
			c.Error = problem
			s.Errors++
		case v.Outcome == Inconclusive && p != InconclusiveIsPass:
			c.Skipped = &junitSkipped{oneLine(v.Reason)}
			s.Skipped++
		}
		s.Cases = append(s.Cases, c)
	}
	s.Tests = len(s.Cases)
	var out strings.Builder
	if err := r.WriteTable(&out); err != nil {
		return err
	}
	s.Out, s.Err = printable(out.String()), printable(strings.Join(r.Warnings, "\n"))
	text, err := xml.MarshalIndent(junitSuites{Suite: s}, "", "  ")
	if err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	if _, err := io.WriteString(w, xml.Header+named().Replace(string(text))+"\n"); err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	return nil
}

// named turns the references by number that encoding/xml writes into those by name, and those of line ends, which are needed
// in attributes only, into line ends: some readers of these reports know no others. Every & of a text is &amp; by then.
func named() *strings.Replacer {
	return strings.NewReplacer("&#34;", "&quot;", "&#39;", "&apos;", "&#xA;", "\n", "&#x9;", "\t")
}

// oneLine is printable text for an attribute.
func oneLine(text string) string { return strings.Join(strings.Fields(printable(text)), " ") }

// printable takes out what XML 1.0 cannot hold.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) && c != '\n' && c != '\t' || c == unicode.ReplacementChar || c == '\ufffe' || c == '\uffff' {
			return -1
		}
		return c
	}, strings.ToValidUTF8(text, ""))
}
