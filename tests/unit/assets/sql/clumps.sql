WITH ordnet AS (
    SELECT *, row_number() OVER orden AS nr, max(periode_slut) OVER (
        orden ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS naaet
    FROM classified.krav SEMI JOIN kandidat USING (borger_id, ydelse_id) WHERE beloeb_oere > 0
    WINDOW orden AS (PARTITION BY borger_id, ydelse_id
        ORDER BY periode_start, periode_slut, pligt_se, konto, kommunekode_betaler)
), klumpet AS (
    SELECT *, count(*) FILTER (naaet IS NULL OR periode_start > naaet) OVER (
        PARTITION BY borger_id, ydelse_id ORDER BY nr ROWS UNBOUNDED PRECEDING) AS klump
    FROM ordnet
)
SELECT * EXCLUDE (nr, naaet, antal_raekker) FROM klumpet
QUALIFY min(pligt_se) OVER (PARTITION BY borger_id, ydelse_id, klump)
     <> max(pligt_se) OVER (PARTITION BY borger_id, ydelse_id, klump)
ORDER BY ALL
