package telemetry

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

func golden(t *testing.T, name string, samples []Sample) {
	var b strings.Builder
	for _, s := range samples {
		fmt.Fprintf(&b, "%+v\n", s)
	}
	if *update {
		require.NoError(t, os.WriteFile(name, []byte(b.String()), 0o600))
	}
	want, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
}

func TestPagesAreRead(t *testing.T) {
	page, err := os.ReadFile("testdata/smi.csv")
	require.NoError(t, err)
	samples, err := parseSMI(bytes.NewReader(page))
	require.NoError(t, err)
	golden(t, "testdata/smi.golden", samples)
	none, err := parseSMI(strings.NewReader("No devices were found\n"))
	require.NoError(t, err)
	require.Empty(t, none)
	_, err = parseSMI(strings.NewReader("GPU-1, 5\n"))
	require.Error(t, err)
	page, err = os.ReadFile("testdata/dcgm.prom")
	require.NoError(t, err)
	samples, err = parseDCGM(bytes.NewReader(page))
	require.NoError(t, err)
	golden(t, "testdata/dcgm.golden", samples)
}

func TestEnergyIsCountedOrSummedUp(t *testing.T) {
	nan := math.NaN()
	r := &Recorder{}
	at := time.Unix(1000, 0)
	for i, power := range []float64{100, 300, 300} {
		now := at.Add(time.Duration(i) * 2 * time.Second)
		r.take(now, []Sample{
			{ID: "summed", Utilization: 50, MemoryUsed: nan, Power: power, Temperature: nan, Clock: nan, Energy: nan},
			{ID: "counted", Utilization: 100, MemoryUsed: 4, Power: power, Temperature: 60, Clock: 1000, Energy: 5000 + 500*float64(i)},
		})
	}
	r.source, r.quit, r.done = broken{}, func() {}, make(chan struct{})
	close(r.done)
	gpus, err := r.Stop(t.Context())
	require.ErrorContains(t, err, "1 reads of the GPUs failed")
	require.Equal(t, []float64{1000, 1000}, []float64{gpus[0].Energy, gpus[1].Energy}) // 2 s of 200 W and 2 s of 300 W; two steps of 500 J
	require.False(t, gpus[0].Counted)
	require.True(t, gpus[1].Counted)
	_, has := gpus[0].Figures[TagMemory]
	require.False(t, has, "what a GPU does not show has no figure")
	figures := map[string]float64{}
	for _, m := range append(Figures(gpus), Efficiency(2000, 10, 400)...) {
		figures[m.Tag] = m.Stats.Avg
	}
	require.Equal(t, 75.0, figures[TagUtilization])
	require.Equal(t, 100.0, figures[TagUtilization+"_max"])
	require.Equal(t, 2000.0, figures[TagEnergy])
	require.Equal(t, 5.0, figures["energy_per_output_token"])
	require.Equal(t, 200.0, figures["energy_per_request"])
	require.Empty(t, Efficiency(0, 10, 10))
	require.Empty(t, Figures(nil))
}

type broken struct{}

func (broken) Read(context.Context) ([]Sample, error) { return nil, ErrNoGPU }

func TestAnExporterIsReadWhileTheLoadRuns(t *testing.T) {
	page, err := os.ReadFile("testdata/dcgm.prom")
	require.NoError(t, err)
	reads := make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(page)
		reads <- struct{}{}
	}))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	s, err := Open(t.Context(), server.URL, "GPU-a")
	require.NoError(t, err)
	r := Start(t.Context(), s, time.Millisecond)
	for range 5 {
		<-reads
	}
	gpus, err := r.Stop(t.Context())
	require.NoError(t, err)
	require.Len(t, gpus, 1, "it keeps to the devices that it was given")
	require.Equal(t, 398.5, gpus[0].Figures[TagPower].Avg)
	_, err = Open(t.Context(), server.URL, "GPU-z")
	require.ErrorIs(t, err, ErrNoGPU)
	_, err = Open(t.Context(), "somewhere")
	require.ErrorContains(t, err, "want local or the URL")
	t.Setenv("PATH", t.TempDir())
	_, err = Open(t.Context(), Local)
	require.ErrorIs(t, err, ErrNoGPU)
}

func FuzzPages(f *testing.F) {
	for _, name := range []string{"testdata/smi.csv", "testdata/dcgm.prom"} {
		page, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(page)
	}
	f.Fuzz(func(t *testing.T, page []byte) {
		for _, read := range []func() ([]Sample, error){
			func() ([]Sample, error) { return parseSMI(bytes.NewReader(page)) },
			func() ([]Sample, error) { return parseDCGM(bytes.NewReader(page)) },
		} {
			samples, _ := read()
			for _, s := range samples {
				require.NotEmpty(t, s.ID)
				require.False(t, math.IsInf(s.Power, 0))
			}
		}
	})
}
