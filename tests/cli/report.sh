#!/bin/bash
# The page of `report`: self-contained, every figure there, ids unique; and in a headless browser, where there is one, without an error, within a phone's width,
# with tables that sort. Without gnuplot the page has its tables and says so.
source "$(dirname "$0")/lib.sh"
labels="-perturbation_column perturbation -control control -cell_type_column cell_type -batch_column batch"
size="-hidden 16 -depth 1 -heads 2 -covariate_dim 8 -set_size 8 -sets 6 -schedule_steps 50 -report_interval 5"

holds() { if grep -q -- "$2" "$3"; then ok "$1"; else not_ok "$1" "no '$2' in $3"; fi; }
lacks() { if grep -qiE -- "$2" "$3"; then not_ok "$1" "$(grep -oiE -- "$2" "$3" | head -n 1) in $3"; else ok "$1"; fi; }
# equals NAME A B: two counts.
equals() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "$2, not $3"; fi; }

on 1 simulate -out screen.h5ad -cells 960 -genes 30 -perturbations 4 -cell_types 2 -batches 1 -effect_genes 6 -quiet
on 1 prepare -in screen.h5ad -out cells.h5 $labels -genes all -holdout 'drug1|type1|*' -holdout 'drug2|type1|*' -quiet
on 1 embed -data cells.h5 -out embedding -tests 99 -quiet
on 1 train -data cells.h5 -out run $size -train_steps 20 -quiet
on 1 sample -checkpoint run -data cells.h5 -out predicted.h5ad -quiet
on 1 evaluate -real cells.h5 -predicted model=predicted.h5ad -out scores -distribution -permutations 19 -questions make -quiet
done_or_fail "inputs of the page"

if command -v gnuplot >/dev/null; then
  on 1 report scores embedding run -out report.html -title 'A <title> & "quotes"' -quiet
  done_or_fail "the page with figures"
  holds "the title is escaped" '<h1>A &lt;title&gt; &amp; &quot;quotes&quot;</h1>' report.html
  for id in scores radar components calibration distances changes volcanoes populations tests embedding spectrum training; do holds "figure $id" "<figure id=\"figure-$id\">" report.html; done
  lacks "gnuplot drew every figure" 'could not draw' report.html
  # A sheet of paper has room for so many columns; letters of wide drawings stay readable on a phone, where they scroll.
  for table in scores distribution genes; do
    columns=$(sed -n "s/.*id=\"table-$table\"><thead>//p" report.html | grep -o '<th' | wc -l)
    if [ "$columns" -ge 2 ] && [ "$columns" -le 10 ]; then ok "columns of table $table"; else not_ok "columns of table $table" "$columns"; fi
  done
  equals "wide drawings scroll" "$(grep -c 'class="panel large"' report.html)" 4
  panels=$(sed -n 's/.*data-panels="\([0-9]*\)".*/\1/p' report.html)
  equals "as many drawings as panels" "$(grep -c '<svg' report.html)" "$panels"
  equals "as many figures as the page counts" "$(grep -c '<figure ' report.html)" "$(sed -n 's/.*data-figures="\([0-9]*\)".*/\1/p' report.html)"
  # Labels are text, also those that look like commands and have more than one line.
  cp -r scores odd
  sed -i "s/drug1/\"it's \`touch stolen\`\\nsystem 'touch stolen'\"/g" odd/*.csv
  on 1 report odd -out odd.html -quiet
  done_or_fail "odd labels"
  lacks "figures of odd labels" 'could not draw' odd.html
  if [ -e stolen ]; then not_ok "a label is no command" "gnuplot ran it"; else ok "a label is no command"; fi
  # The volcano names the farthest population, shows the floor of p and no control; files of their own are whole XML.
  holds "the floor of permutations" 'least p that 99 permutations can give' embedding/tests.svg
  holds "the farthest population by name" "$(sort -t, -k7,7gr embedding/tests.csv | sed -n 's/^\([^,]*\),\([^,]*\),.*/\1, \2/p' | head -n 1)" embedding/tests.svg
  lacks "no control in the volcano" '>control' embedding/tests.svg
  for figure in populations tests components spectrum; do
    equals "groups of $figure.svg close" "$(grep -oE '<g[ >]' embedding/$figure.svg | wc -l)" "$(grep -o '</g>' embedding/$figure.svg | wc -l)"
    lacks "no title within $figure.svg" '<title' embedding/$figure.svg
  done
  # Drawings that show something have paths or points beyond their axes.
  equals "no drawing is empty" "$(awk '/<svg/ { n = 0 } /<path|<use|<polygon|<image/ { n++ } /<\/svg>/ { if (n < 8) bad++ } END { print bad + 0 }' report.html)" 0
else
  skip "the page with figures" "gnuplot is not installed"
  on 1 report scores embedding run -out report.html -quiet
fi
lacks "nothing is fetched from elsewhere" '(src|href)=["'"'"']?(https?:)?//|@import|url\(["'"'"']?http' report.html
equals "ids are unique" "$(grep -oE ' id=["'"'"'][^"'"'"']+' report.html | sort | uniq -d | wc -l)" 0
equals "references have their ids" "$(comm -23 <(grep -oE "href=[\"']#[^\"']+" report.html | sed "s/.*#//" | sort -u) <(grep -oE " id=[\"'][^\"']+" report.html | sed "s/.*[\"']//" | sort -u) | wc -l)" 0
if [ "$(stat -c %s report.html)" -lt 5000000 ]; then ok "the page is below 5 MB"; else not_ok "the page is below 5 MB" "$(stat -c %s report.html) bytes"; fi
for tag in table tr figure section div svg g details; do equals "every <$tag> is closed" "$(grep -oE "<$tag[ >]" report.html | wc -l)" "$(grep -o "</$tag>" report.html | wc -l)"; done

# The folders in another order give the same page but for their list.
on 1 report run scores embedding -out other.html -title 'A <title> & "quotes"' -quiet
[ ! -s report.html ] || equals "the order of folders changes nothing but their list" "$(diff <(grep -v 'Made by' report.html) <(grep -v 'Made by' other.html) | grep -c '^[<>]')" 0

# Without gnuplot.
mkdir bare
ln -sf /bin/* /usr/bin/* bare/ 2>/dev/null
rm -f bare/gnuplot*
PATH=$PWD/bare "$program" report scores embedding run -out bare.html -quiet >"$out" 2>"$err"
status=$?
done_or_fail "the page without gnuplot"
holds "it says so" 'gnuplot was not found' bare.html
holds "it has its tables" 'id="table-scores"' bare.html
lacks "it has no empty figures" '<figure|<svg' bare.html

# In a browser: the page's errors and sizes are written into it, and the tree is read back.
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ]; then
  ok "no browser here: the page was checked as text"
  finish
fi
probe='<script>window.problems=[];window.addEventListener("error",function(e){problems.push(e.message)})</script>'
check='<script>window.addEventListener("load",function(){var r=document.documentElement,empty=0,h=document.querySelectorAll("#table-scores th")[1];
document.querySelectorAll("svg").forEach(function(s){var b=s.getBBox(),c=s.getBoundingClientRect();if(!(b.width>20&&b.height>20&&c.width>50&&c.height>50))empty++});
function column(){return Array.from(document.querySelectorAll("#table-scores tbody tr")).map(function(t){return parseFloat(t.cells[1].dataset.value)}).filter(function(v){return !isNaN(v)})}
function rising(a){return a.every(function(v,i){return !i||a[i-1]<=v})}
h.firstChild.click();var up=rising(column());h.firstChild.click();var down=rising(column().reverse());
r.dataset.seen="problems="+problems.length+" empty="+empty+" svg="+document.querySelectorAll("svg").length+" wide="+(r.scrollWidth>innerWidth+1)+" up="+up+" down="+down+" sort="+h.getAttribute("aria-sort")})</script>'
page=$(<report.html)
page=${page/"<style>"/"$probe<style>"}
printf '%s\n' "${page/"</body>"/"$check</body>"}" >probed.html
for width in 1280 390; do
  timeout 90 "$browser" --headless=new --no-sandbox --disable-gpu --user-data-dir="$PWD/profile" --window-size=$width,2000 --virtual-time-budget=4000 --enable-logging=stderr --dump-dom \
    "file://$PWD/probed.html" >dom.html 2>browser.log </dev/null
  seen=$(grep -o 'data-seen="[^"]*"' dom.html | head -n 1)
  equals "browser at $width pixels" "$seen" "data-seen=\"problems=0 empty=0 svg=${panels:-0} wide=false up=true down=true sort=descending\""
  lacks "console at $width pixels" 'CONSOLE.*(error|uncaught|refused|violat)' browser.log
done
finish
