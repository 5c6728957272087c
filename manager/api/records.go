package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/records"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/space"
)

// winnerAge is how long, in seconds, a runtime may keep a winner without
// asking again.
const winnerAge = 60

// A RecordReference names a record.
type RecordReference struct {
	Number int64 `path:"number" minimum:"1" doc:"of a record"`
}

// A Lookup is a question as a URL carries it.
type Lookup struct {
	Operation   string `query:"operation" required:"true" minLength:"1" maxLength:"200" doc:"what the runtime does"`
	Version     string `query:"version" maxLength:"64" doc:"of the operation; without it, those that have none"`
	Runner      string `query:"runner" maxLength:"200" doc:"only what ran under this digest"`
	Objective   string `query:"objective" maxLength:"200" doc:"such as minimize_time_ms; any without it"`
	Extras      string `query:"extras" maxLength:"8192" doc:"JSON object: has to agree in every fact"`
	Workload    string `query:"workload" maxLength:"8192" doc:"JSON object: has to agree in every fact, or with nearest in all but numbers"`
	Environment string `query:"environment" maxLength:"8192" doc:"JSON object; facts left out are not known, \"*\" agrees with everything"`
	Nearest     bool   `query:"nearest" doc:"take the nearest workload where none agrees"`
}

func (a *API) recordRoutes(api huma.API) {
	huma.Register(api, get("list-records", "/records", "Records, in the order they were added", "records"),
		func(ctx context.Context, in *struct {
			Operation string `query:"operation" maxLength:"200" doc:"only records of this operation"`
			Task      string `query:"task" maxLength:"200" doc:"only those that this task measured"`
			Key       string `query:"key" maxLength:"64" doc:"only those under this key"`
			After     int64  `query:"after" minimum:"0" doc:"cursor of an earlier page"`
			Limit     int    `query:"limit" default:"100" minimum:"1" maximum:"1000"`
		}) (*answer[v1.Page[v1.Record]], error) {
			page, err := a.listRecords(ctx, store.RecordFilter{Operation: in.Operation, Task: in.Task, Key: in.Key, After: in.After, Limit: in.Limit + 1})
			return reply(ctx, a, page, err)
		})
	a.winnerRoute(api)
	a.recordFileRoutes(api)
	huma.Register(api, get("show-record", "/records/{number}", "A record", "records"),
		func(ctx context.Context, in *RecordReference) (*answer[v1.Record], error) {
			d, err := a.showRecord(ctx, in.Number)
			return reply(ctx, a, d, err)
		})
	huma.Register(api, operation("pin-record", http.MethodPost, "/records/{number}/pin", "Let a record serve its key before every winner", "records"),
		func(ctx context.Context, in *struct {
			RecordReference
			Body *v1.Pin
		}) (*answer[v1.Record], error) {
			note := ""
			if in.Body != nil {
				note = in.Body.Note
			}
			err := a.store.PinRecord(ctx, in.Number, note)
			if err != nil {
				return nil, failure(ctx, a.log, recordProblem(err))
			}
			d, err := a.showRecord(ctx, in.Number)
			return reply(ctx, a, d, err)
		})
	huma.Register(api, operation("unpin-record", http.MethodDelete, "/records/{number}/pin", "Take a pin back", "records"),
		func(ctx context.Context, in *RecordReference) (*answer[v1.Record], error) {
			if err := a.store.UnpinRecord(ctx, in.Number); err != nil {
				return nil, failure(ctx, a.log, recordProblem(err))
			}
			d, err := a.showRecord(ctx, in.Number)
			return reply(ctx, a, d, err)
		})
}

// winnerRoute answers with an entity tag, so that asking again costs nothing.
func (a *API) winnerRoute(api huma.API) {
	op := get("find-winner", "/records/winner", "The winner for a workload, as a runtime asks for it at its start", "records")
	op.Description = "A record never serves where a known fact differs. It serves with `match: soft` where a fact of the environment is " +
		"not known, and with `match: nearest`, if asked to, where numbers of the workload differ. 409 says that records of different " +
		"places would serve: say which. Answers carry ETag and Cache-Control; If-None-Match is answered with 304."
	schema := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[v1.Winner](), true, "")
	op.Responses = map[string]*huma.Response{
		"200": {Description: "the winner", Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}},
		"304": {Description: "what If-None-Match names is the answer still"},
	}
	op.Errors = []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity}
	huma.Register(api, op, func(ctx context.Context, in *struct {
		Lookup
		IfNoneMatch string `header:"If-None-Match"`
	}) (*huma.StreamResponse, error) {
		winner, err := a.winner(ctx, in.Lookup)
		if err != nil {
			return nil, failure(ctx, a.log, err)
		}
		data, err := json.Marshal(winner)
		if err != nil {
			return nil, failure(ctx, a.log, err)
		}
		sum := sha256.Sum256(data)
		tag := `"` + hex.EncodeToString(sum[:12]) + `"`
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			hc.SetHeader("ETag", tag)
			hc.SetHeader("Cache-Control", "private, max-age="+strconv.Itoa(winnerAge))
			if unchanged(in.IfNoneMatch, tag) {
				hc.SetStatus(http.StatusNotModified)
				return
			}
			hc.SetHeader("Content-Type", "application/json")
			hc.SetStatus(http.StatusOK)
			// The connection is all that can fail here, and with it the answer.
			_, _ = hc.BodyWriter().Write(append(data, '\n'))
		}}, nil
	})
}

// unchanged says whether If-None-Match names the tag, among others or as a weak
// one (RFC 9110, 13.1.2: compared weakly), or any.
func unchanged(header, tag string) bool {
	for named := range strings.SplitSeq(header, ",") {
		if named = strings.TrimPrefix(strings.TrimSpace(named), "W/"); named == tag || named == "*" {
			return true
		}
	}
	return false
}

// recordFileRoutes carry records from one manager to another.
func (a *API) recordFileRoutes(api huma.API) {
	op := get("export-records", "/records/export", "Records as a file", "records")
	op.Responses = map[string]*huma.Response{"200": {Description: "the file",
		Content: map[string]*huma.MediaType{recordsType: {Schema: &huma.Schema{Type: "string", Format: "binary"}}}}}
	huma.Register(api, op, func(ctx context.Context, in *struct {
		Operation string `query:"operation" maxLength:"200" doc:"only records of this operation"`
		Task      string `query:"task" maxLength:"200" doc:"only those that this task measured"`
	}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			hc.SetHeader("Content-Type", recordsType)
			hc.SetStatus(http.StatusOK)
			if err := a.writeRecords(ctx, hc, store.RecordFilter{Operation: in.Operation, Task: in.Task, Limit: exportBatch}); err != nil {
				a.log.Warn().Err(err).Msg("export of records broke off")
				panic(http.ErrAbortHandler) // the only way left to say that the file is not whole
			}
		}}, nil
	})
	in := operation("import-records", http.MethodPost, "/records/import", "Add the records of a file", "records")
	in.Description = "Lines that are damaged are dropped and reported, the others are added. Importing twice is harmless."
	huma.Register(api, in, func(ctx context.Context, in *struct{ Body v1.RecordFile }) (*answer[v1.Import], error) {
		d, err := a.importRecords(ctx, in.Body.File)
		return reply(ctx, a, d, err)
	})
}

// recordsType is the media type of files of records.
const recordsType = "application/x-ndjson"

func (a *API) writeRecords(ctx context.Context, hc huma.Context, f store.RecordFilter) error {
	w := hc.BodyWriter()
	if err := records.WriteHead(w); err != nil {
		return err
	}
	for {
		list, err := a.store.Records(ctx, f)
		if err != nil {
			return err
		}
		for _, r := range list {
			if err := records.WriteRecord(w, r.Record); err != nil {
				return err
			}
		}
		if len(list) < f.Limit {
			return nil
		}
		f.After = list[len(list)-1].Number
	}
}

func (a *API) importRecords(ctx context.Context, text string) (v1.Import, error) {
	list, dropped, err := records.Read(strings.NewReader(text))
	if errors.Is(err, records.ErrFormat) {
		return v1.Import{}, problem(http.StatusUnprocessableEntity, "send what fleetune records export wrote", "%s", err.Error())
	}
	if err != nil {
		return v1.Import{}, err
	}
	result, err := a.store.AppendRecords(ctx, list, true)
	if err != nil {
		return v1.Import{}, err
	}
	return v1.Import{Added: result.Added, Known: result.Known, Conflicts: orEmpty(result.Conflicts), Dropped: orEmpty(dropped)}, nil
}

func (a *API) listRecords(ctx context.Context, f store.RecordFilter) (v1.Page[v1.Record], error) {
	page := v1.Page[v1.Record]{Items: []v1.Record{}}
	list, err := a.store.Records(ctx, f)
	if err != nil {
		return page, err
	}
	if len(list) == f.Limit {
		list = list[:f.Limit-1]
		page.Next = strconv.FormatInt(list[len(list)-1].Number, 10)
	}
	for _, r := range list {
		page.Items = append(page.Items, recordDocument(r))
	}
	return page, nil
}

func (a *API) showRecord(ctx context.Context, number int64) (v1.Record, error) {
	r, err := a.store.Record(ctx, number)
	if err != nil {
		return v1.Record{}, recordProblem(err)
	}
	return recordDocument(r), nil
}

// recordProblem says what to do about an error of one record.
func recordProblem(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return problem(http.StatusNotFound, "fleetune records list shows the records there are", "%s", err.Error())
	case errors.Is(err, store.ErrState):
		return problem(http.StatusConflict, "pin a record that has a score", "%s", err.Error())
	}
	return err
}

func (a *API) winner(ctx context.Context, l Lookup) (v1.Winner, error) {
	q := records.Question{Operation: l.Operation, Version: l.Version, Runner: l.Runner, Objective: l.Objective, Nearest: l.Nearest}
	for _, part := range []struct {
		name, text string
		into       *records.Facts
	}{{"extras", l.Extras, &q.Extras}, {"workload", l.Workload, &q.Workload}, {"environment", l.Environment, &q.Environment}} {
		if *part.into = (records.Facts{}); part.text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(part.text), part.into); err != nil {
			return v1.Winner{}, problem(http.StatusUnprocessableEntity, "give a JSON object of texts, numbers, booleans and lists of those", "%s: %v", part.name, err)
		}
	}
	winners, err := a.store.WinnersFor(ctx, q.Operation, q.Extras, q.Workload)
	if err != nil {
		return v1.Winner{}, err
	}
	d, err := a.choose(ctx, q, winners)
	if !errors.Is(err, records.ErrNotFound) {
		return d, a.unanswered(ctx, q, err)
	}
	// Another workload may be near, or tell what the question lacks.
	if winners, err = a.store.Winners(ctx, q.Operation); err != nil {
		return d, err
	}
	d, err = a.choose(ctx, q, winners)
	return d, a.unanswered(ctx, q, err)
}

func (a *API) choose(ctx context.Context, q records.Question, winners []store.Winner) (v1.Winner, error) {
	candidates := make([]records.Candidate, len(winners))
	for i, w := range winners {
		candidates[i] = w.Candidate
	}
	chosen, err := records.Choose(q, candidates)
	if err != nil {
		return v1.Winner{}, err
	}
	at := slices.IndexFunc(winners, func(w store.Winner) bool { return w.Digest == chosen.Digest })
	return a.winnerDocument(ctx, winners[at], chosen)
}

// unanswered says why no record serves, and what to ask instead.
func (a *API) unanswered(ctx context.Context, q records.Question, cause error) error {
	switch {
	case errors.Is(cause, records.ErrAmbiguous):
		return problem(http.StatusConflict, "add that fact to environment", "%s", cause.Error())
	case errors.Is(cause, records.ErrNotFound):
		p := problem(http.StatusNotFound, "fleetune records list shows the records there are; --nearest takes the nearest workload", "%s", cause.Error())
		names, err := a.store.Operations(ctx, suggestions)
		if err != nil {
			return err
		}
		if near := space.Nearest(q.Operation, names); near != "" && near != q.Operation {
			p.Next = fmt.Sprintf("did you mean %q? %s", near, p.Next)
		}
		return p
	}
	return cause
}

func (a *API) winnerDocument(ctx context.Context, w store.Winner, chosen records.Answer) (v1.Winner, error) {
	r, err := a.store.Record(ctx, w.Number)
	if err != nil {
		return v1.Winner{}, err
	}
	d := recordDocument(r)
	d.Confirmed = d.Confirmed || !w.Pinned && w.Confirmed // by another measurement of the point
	return v1.Winner{Record: d, Match: chosen.Match, Differences: orEmpty(chosen.Differences), Distance: chosen.Distance,
		Median: w.Score, Points: w.Points}, nil
}

func recordDocument(r store.StoredRecord) v1.Record {
	d := v1.RecordOf(r.Record)
	d.Number, d.Pinned, d.Imported = r.Number, r.Pinned, r.Imported
	return d
}
