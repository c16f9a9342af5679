SELECT b.borger_id FROM people_1 b LEFT JOIN (
    SELECT borger_id, max(CAST(fra_uge + CAST(7 * antal_uger AS INTEGER) AS DATE)) AS slut,
           arg_max(art, fra_uge) AS art, max(fra_uge) AS fra, arg_max(n_foer, fra_uge) AS n_foer
    FROM duration.forloeb SEMI JOIN people_1 USING (borger_id) WHERE fra_uge < $uge GROUP BY borger_id
) f USING (borger_id)
WHERE b.fra_uge >= $uge AND (
    f.slut IS NULL OR (f.slut >= $uge AND (f.art <> 'C' OR (f.fra > $foerste AND f.n_foer > 0))))
ORDER BY b.borger_id
