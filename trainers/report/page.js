// Draws the charts of a report with Chart.js. Colours come from the style sheet, so that they follow
// the light or dark scheme, also when it changes while the page is open.
(() => {
  'use strict';
  const charts = JSON.parse(document.getElementById('data').textContent);
  const drawn = [];

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();

  const short = new Intl.NumberFormat('en', {notation: 'compact', maximumFractionDigits: 1});
  const number = (value) => {
    const size = Math.abs(value);
    if (value === 0) return '0';
    if (size >= 10000) return short.format(value).replace('K', 'k');
    if (size < 0.0001) return value.toExponential(1).replace('.0e', 'e');
    return String(Number(value.toPrecision(4)));
  };
  // As many digits as tell the ticks of an axis apart.
  const tick = (value, index, ticks) => {
    const texts = ticks.map((other) => number(other.value));
    if (new Set(texts).size === texts.length) return number(value);
    const step = Math.abs(ticks[1].value - ticks[0].value);
    return value.toFixed(Math.min(Math.max(Math.ceil(-Math.log10(step)) + 1, 0), 20));
  };
  const exact = (value) => (Math.abs(value) >= 0.001 || value === 0 ?
    value.toLocaleString('en', {maximumSignificantDigits: 5}) : value.toExponential(3));

  const dataset = (series) => ({
    // `marks` are single results: dots without a line and without an entry in the legend.
    label: series.name,
    style: series.style,
    colourName: series.style === 'level' ? 'level' : 'line-' + (series.colour % 6),
    data: series.points.map(([x, y]) => ({x, y})),
    borderWidth: {raw: 1, line: 2, scores: 2, level: 1.5, marks: 1}[series.style],
    showLine: series.style !== 'marks',
    borderDash: series.style === 'level' ? [5, 4] : series.dashed ? [7, 3] : [],
    pointStyle: series.dashed ? 'rectRot' : 'circle',  // of two series of one colour
    pointRadius: {scores: 3, marks: 2.5}[series.style] ?? (series.points.length === 1 ? 4 : 0),
    pointHitRadius: 6,
    pointHoverRadius: series.style === 'level' ? 0 : 4,
    order: {raw: 3, level: 2, line: 1, scores: 0, marks: 1}[series.style],
    clip: 6,
    spanGaps: series.style === 'scores',
  });

  const colourDatasets = (chart) => {
    for (const set of chart.data.datasets) {
      const full = colour(set.colourName);
      set.borderColor = set.style === 'raw' || set.style === 'marks' ? full + '80' : full;
      set.backgroundColor = set.borderColor;
    }
    const {x, y} = chart.options.scales;
    for (const scale of [x, y]) {
      scale.ticks.color = colour('quiet');
      scale.grid.color = colour('grid');
      scale.grid.borderColor = colour('edge');
      scale.title.color = colour('quiet');
    }
    chart.options.plugins.legend.labels.color = colour('text');
    Object.assign(chart.options.plugins.tooltip, {
      backgroundColor: colour('text'), titleColor: colour('card'), bodyColor: colour('card'),
    });
  };

  const axis = (title) => ({
    type: 'linear',
    title: {display: title !== '', text: title, padding: 2},
    grid: {drawTicks: false},
    ticks: {callback: tick, maxRotation: 0, autoSkipPadding: 18, padding: 6, maxTicksLimit: 7},
  });

  // Ticks stand where there are points, if these are few.
  const logarithmic = (title, values) => {
    const places = [...new Set(values)].sort((a, b) => a - b);
    const few = places.length <= 8 && places.every((x, i) => i === 0 || x > 1.3 * places[i - 1]);
    return {
      ...axis(title), type: 'logarithmic', min: places[0] / 1.15, max: places[places.length - 1] * 1.15,
      ...(few ? {afterBuildTicks: (scale) => { scale.ticks = places.map((value) => ({value})); }} : {}),
    };
  };

  const draw = (description) => {
    const figure = document.getElementById('chart-' + description.id);
    const entries = description.series.filter(({style}) => style !== 'marks').length;
    figure.style.setProperty('--entries', entries);
    figure.classList.toggle('crowded', entries > 6);  // a legend of several lines
    const twice = description.series.some(({dashed}) => dashed);  // colours
    const steps = description.series.flatMap(({points}) => points.map(([x]) => x));
    const last = steps.reduce((most, step) => Math.max(most, step), 1);
    const x = description.x || {title: 'step', log: false};
    const horizontal = x.log ? logarithmic(x.title, steps) : {...axis(x.title), min: 0, max: last};
    const vertical = description.y && description.y.unit_interval ? {...axis(''), min: 0, max: 1} : axis('');
    const chart = new Chart(figure.querySelector('canvas'), {
      type: 'line',
      data: {datasets: description.series.map(dataset)},
      options: {
        animation: false,
        parsing: false,
        normalized: true,
        maintainAspectRatio: false,
        interaction: {mode: 'nearest', axis: 'x', intersect: false},
        scales: {x: horizontal, y: vertical},
        plugins: {
          legend: {
            display: description.series.length > 1,
            align: 'start',
            labels: {
              usePointStyle: true, pointStyle: twice ? undefined : 'line', boxWidth: twice ? 10 : 26, padding: 14,
              boxHeight: twice ? 6 : undefined,
              filter: (item, data) => data.datasets[item.datasetIndex].style !== 'marks',
            },
          },
          tooltip: {
            displayColors: false,
            callbacks: {
              title: (items) => (items.length ? x.title + ' ' + items[0].parsed.x.toLocaleString('en') : ''),
              label: (item) => item.dataset.label + '  ' + exact(item.parsed.y),
            },
            filter: (item) => item.dataset.style !== 'level',
          },
        },
      },
    });
    colourDatasets(chart);
    chart.update();
    offerLogarithm(figure, chart, description);
    drawn.push(chart);
  };

  const offerLogarithm = (figure, chart, description) => {
    const values = description.series.flatMap(({points}) => points.map(([, y]) => y)).filter((y) => y !== null);
    if (values.length < 2 || values.some((y) => y <= 0)) return;
    const button = figure.querySelector('button');
    button.hidden = false;
    button.addEventListener('click', () => {
      const pressed = button.getAttribute('aria-pressed') !== 'true';
      button.setAttribute('aria-pressed', String(pressed));
      chart.options.scales.y.type = pressed ? 'logarithmic' : 'linear';
      colourDatasets(chart);
      chart.update();
    });
  };

  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  Chart.defaults.font.size = 13;
  charts.forEach(draw);
  window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    for (const chart of drawn) {
      colourDatasets(chart);
      chart.update();
    }
  });
})();
